-- Grant no more of a device, or do again. Arguments: pool, device, undo, reason. Gives `drained`, or `unknown`.
local devices, device = all_devices(), nil
for _, known in ipairs(devices) do
  if known.name == arg(2) and known.pool == arg(1) then device = known end
end
if not device or not pools[arg(1)] then return finish('unknown') end
local drain = arg(3) ~= '1'
if (device.drain or false) ~= drain then
  device.drain, device.why = drain, arg(4)
  save_devices(devices)
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
