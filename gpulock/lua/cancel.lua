-- Take a request back, whatever became of it meanwhile. Arguments: id, detail. Gives `cancelled`, or `lost` for a revoked lease.
local rec = load(arg(1))
if rec and rec.st == 'W' then
  end_wait(rec, 'cancelled', arg(2))
  schedule(rec.pool) -- it may have held others up
elseif rec and rec.st == 'G' and rec.warm then
  revoke(rec, 'superseded', arg(2)) -- it crossed the cancellation, and its client still has the model on the device, as the old lease's
elseif rec and rec.st == 'G' then
  end_lease(rec, 'cancelled', arg(2)) -- the grant that crossed it
elseif rec and rec.st == 'X' then
  return finish('lost', export(rec), rec.stop)
end
return finish('cancelled')
