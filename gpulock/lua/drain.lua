-- Grant no more of a device, or do again. Arguments: pool, device, undo, reason. Gives `drained`, or `unknown`.
if not conf then return finish('unconfigured') end
local packed = redis.call('HGET', DEV, arg(2))
local device = packed and cmsgpack.unpack(packed) or nil
if not device or device.pool ~= arg(1) or not pools[arg(1)] then return finish('unknown') end
local drain = arg(3) ~= '1'
if (device.drain or false) ~= drain then
  device.drain, device.why = drain, arg(4)
  redis.call('HSET', DEV, device.name, cmsgpack.pack(device))
  emit(drain and 'drained' or 'undrained', { pool = device.pool }, arg(4), device.name)
  if drain then
    for _, id in ipairs(redis.call('ZRANGE', YIELD, 0, -1)) do
      local rec = load(id)
      for _, held in ipairs(rec and rec.parked and rec.devs or {}) do
        if held[1] == device.name then ask_to_stop(rec, 'drain', conf.yield_us, 'the device is being drained') end
      end
    end
  else
    schedule(device.pool)
  end
end
return finish('drained')
