-- Everything a monitor shows, at one instant. Arguments: pool (empty: all), waiters to list at most in each pool.
-- Gives devices, leases (revoked ones too), waiters in the order of service, and how many wait.
if not conf then return finish('unconfigured') end
local wanted, limit = arg(1), number(2)
local devices, leases, waiters, count = {}, {}, {}, 0
for _, name in ipairs(pool_names) do
  if wanted == '' or wanted == name then
    for _, device in ipairs(load_devices(name)) do
      devices[#devices + 1] = { device.name, device.pool, device.mib, device.visible, device.host,
        redis.call('HGET', USED, device.name) or '0', redis.call('HGET', QUAR, device.name) or '0', device.drain and '1' or '0' }
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
for _, member in ipairs(redis.call('ZRANGE', DL, 0, -1)) do
  local letter = string.sub(member, 1, 1)
  if letter == 'e' or letter == 'f' then
    local rec = load(string.sub(member, 2))
    if rec and (wanted == '' or rec.pool == wanted) then leases[#leases + 1] = export(rec) end
  end
end
return finish(devices, leases, waiters, count)
