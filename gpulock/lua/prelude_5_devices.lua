-- Fifth part of the prelude: what devices have, what is taken of them, and whom they suit.

local IN_USE, QUARANTINED = 1, 2

-- MiB of each device in leases and in quarantine; names only devices of which something is taken.
local taken
at_begin(function() taken = nil end)

local function taken_of(name)
  taken = taken or (found[4] and cmsgpack.unpack(found[4]) or {})
  return taken[name] or { 0, 0 }
end

local function take(kind, rec, sign)
  for _, device in ipairs(rec.devs) do
    local name = device[1]
    local mib = taken_of(name)
    mib[kind] = mib[kind] + sign * device[2]
    taken[name] = (mib[IN_USE] ~= 0 or mib[QUARANTINED] ~= 0) and mib or nil
  end
end

local function write_taken()
  if taken then changed.taken = cmsgpack.pack(taken) end
end

-- Devices in the order of configuration: `name`, `pool`, `mib`, `visible`, `host`, and `drain` with its `why`.
local function all_devices()
  local packed = changed.devices or found[3]
  return packed and cmsgpack.unpack(packed) or {}
end

local function save_devices(devices) changed.devices = cmsgpack.pack(devices) end

local unpack_devices = remembering(function(packed) return packed and cmsgpack.unpack(packed) or {} end)

-- Those of a pool, with what is free of each now; `coming` and `reserved` are for the time of one turn of the schedule.
local function load_devices(pool_name)
  local devices, by_name = {}, {}
  for order, device in ipairs(unpack_devices(changed.devices or found[3])) do
    if device.pool == pool_name then
      local mib = taken_of(device.name)
      device.order, device.coming, device.reserved = order, 0, nil
      device.free = device.mib - mib[IN_USE] - mib[QUARANTINED]
      devices[#devices + 1] = device
      by_name[device.name] = device
    end
  end
  return devices, by_name
end

-- Whether a device can ever serve a request.
local function suits(device, rec)
  return (rec.dev == '' or rec.dev == device.name) and (rec.host == '' or device.host == '' or rec.host == device.host)
    and device.mib >= rec.mib
end

local function needs(device, rec) return rec.mib > 0 and rec.mib or device.mib end
