-- Give a lease back. Arguments: id, token, reason. Gives `released`, µs held, the reason counted (empty: it had ended before)
-- and whether it was parked; or `stale`.
local rec = load(arg(1))
if not rec then return finish('released', 0, '', '0') end
if rec.st == 'W' then return finish('stale') end
if not fresh(rec, number(2)) then return finish('stale') end
local held, reason = now - (rec.ga or now), arg(3)
if rec.st == 'G' or rec.st == 'X' then
  if rec.stop == 'preempted' and reason ~= 'normal' then reason = 'yielded' end
  if rec.stop == 'drain' and reason ~= 'normal' then reason = 'drain' end
  local revoked = rec.st == 'X' -- and counted when it was
  end_lease(rec, revoked and rec.stop or reason, revoked and 'released' or nil)
  return finish('released', held, revoked and '' or reason, rec.parked and '1' or '0')
end
return finish('released', 0, '', '0')
