-- Give a lease back. Arguments: id, token, reason. Gives `released`, µs held, the reason counted (empty: it was given back before)
-- and whether it was parked; or `stale`.
local rec = load(arg(1))
if not rec then return finish('released', 0, '', '0') end
if rec.st == 'W' then return finish('stale') end
if not fresh(rec, number(2)) then return finish('stale') end
local held, reason = now - (rec.ga or now), arg(3)
if rec.st == 'G' or rec.st == 'X' then
  if rec.stop == 'preempted' and reason ~= 'normal' then reason = 'yielded' end
  if rec.stop == 'drain' and reason ~= 'normal' then reason = 'drain' end
  end_lease(rec, rec.st == 'X' and rec.stop or reason, rec.st == 'X' and 'released' or nil)
  return finish('released', held, reason, rec.parked and '1' or '0')
end
return finish('released', 0, '', '0')
