-- After a revocation: every process of the lease is gone and its memory is back. Arguments: id, token. Gives `confirmed` or `stale`.
local rec = load(arg(1))
if not rec then return finish('confirmed') end
if rec.st == 'D' then
  if rec.tok == number(2) then end_successor(rec) end
  return finish('confirmed')
end
if not fresh(rec, number(2)) then return finish('stale') end
if rec.st ~= 'X' then return finish('stale') end
incr(rec.pool, 'confirms')
end_lease(rec, rec.stop, 'confirmed')
return finish('confirmed')
