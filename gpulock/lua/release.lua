-- Give a lease back. Arguments: id, token, reason. Gives `released`, µs held, the reason counted (empty: it had ended before)
-- and whether it was parked; or `stale`.
local rec = load(arg(1))
if not rec then return finish('released', 0, '', '0') end
if rec.st == 'W' then return finish('stale') end
if not fresh(rec, number(2)) then return finish('stale') end
local held, reason = now - (rec.ga or now), arg(3)
end_successor(rec)
if rec.st == 'X' then -- its end was counted when it was revoked
  end_lease(rec, rec.stop, 'released')
elseif rec.st == 'G' then
  if reason == 'stopped' and not rec.stop then -- nobody has asked for it: by the holder's own clock no beat was answered in time
    reason, rec.detail = 'heartbeat', 'its holder could not renew it in time'
  elseif reason ~= 'normal' then
    rec.detail = rec.why
  end
  if rec.stop == 'preempted' and reason ~= 'normal' then reason = 'yielded' end
  if rec.stop == 'drain' and reason ~= 'normal' then reason = 'drain' end
  end_lease(rec, reason)
  return finish('released', held, reason, rec.parked and '1' or '0')
end
return finish('released', 0, '', '0')
