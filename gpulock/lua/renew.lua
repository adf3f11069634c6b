-- A holder's beat. Arguments: id, token, client, node, `1` when messages to it may have been lost. Gives `renewed`, `lost`, `stale`, or
-- `reclaim` while the store may have forgotten the lease.
local rec = load(arg(1))
if not rec then return finish(state.phase == 'recover' and 'reclaim' or 'lost', {}, 'heartbeat') end
if rec.st == 'W' then return finish(state.phase == 'recover' and 'reclaim' or 'stale') end
if not fresh(rec, number(2)) then return finish('stale') end
if rec.st == 'G' then
  local slack = rec.exp - now
  local moved = attach(rec, arg(3), arg(4))
  beat(rec)
  save(rec)
  if (moved or arg(5) == '1') and rec.stop then push('stop', rec, rec.stop) end
  return finish('renewed', export_lease(rec), slack)
elseif rec.st == 'X' then
  attach(rec, arg(3), arg(4))
  save(rec)
end
return finish('lost', export(rec), rec.st == 'X' and rec.stop or rec.ended or 'heartbeat')
