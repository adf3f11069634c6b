-- Everything a monitor shows, at one instant. Arguments: pool (empty: all), waiters to list at most in each pool.
-- Gives devices, leases (revoked ones too), waiters in the order of service, and how many wait.
local wanted, limit = arg(1), number(2)
local devices, leases, waiters, count = {}, {}, {}, 0
for _, name in ipairs(pool_names) do
  if wanted == '' or wanted == name then
    for _, device in ipairs(load_devices(name)) do
      local mib = taken_of(device.name)
      devices[#devices + 1] = { device.name, device.pool, device.mib, device.visible, device.host, mib[IN_USE], mib[QUARANTINED],
        device.drain and '1' or '0' }
    end
    count = count + redis.call('ZCARD', pools[name].queue)
    if limit > 0 then
      local position = 0
      each_waiter(pools[name], limit, function(rec)
        position = position + 1
        if position <= limit then waiters[#waiters + 1] = export(rec) end
        return position < limit
      end)
    end
  end
end
for _, rec in ipairs(all_leases()) do
  if wanted == '' or rec.pool == wanted then leases[#leases + 1] = export(rec) end
end
return finish(devices, leases, waiters, count)
