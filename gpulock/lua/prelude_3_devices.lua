-- Third part of the prelude: what devices have, and whom they suit.

local function load_devices(pool_name)
  local packed, devices, by_name = redis.call('HGETALL', DEV), {}, {}
  for i = 1, #packed, 2 do
    local device = cmsgpack.unpack(packed[i + 1])
    if device.pool == pool_name then
      device.taken, device.coming = 0, 0
      devices[#devices + 1] = device
      by_name[device.name] = device
    end
  end
  if #devices > 1 then table.sort(devices, function(a, b) return a.order < b.order end) end
  for _, key in ipairs({ USED, QUAR }) do
    for name, mib in pairs(share_of(key).now) do
      local device = by_name[name]
      if device then device.taken = device.taken + mib end
    end
  end
  for _, device in ipairs(devices) do device.free = device.mib - device.taken end
  return devices, by_name
end

-- Whether a device can ever serve a request.
local function suits(device, rec)
  return (rec.dev == '' or rec.dev == device.name) and (rec.host == '' or device.host == '' or rec.host == device.host)
    and device.mib >= rec.mib
end

local function needs(device, rec) return rec.mib > 0 and rec.mib or device.mib end

local function take(key, rec, sign)
  local taken = share_of(key).now
  for _, device in ipairs(rec.devs) do taken[device[1]] = (taken[device[1]] or 0) + sign * device[2] end
end
