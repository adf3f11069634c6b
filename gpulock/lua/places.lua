-- Who stands where. Gives, for each pool, its name and its waiters in the order of service; then the leases, revoked ones too; then pool
-- and name of each device that is drained.
local orders, leases = {}, {}
for _, name in ipairs(pool_names) do
  local order = { name }
  for _, band in ipairs(bands_in_order(pools[name])) do
    local low = band_floor(band.prio)
    for _, member in ipairs(redis.call('ZRANGEBYSCORE', pools[name].queue, low, low + 999999999999)) do
      order[#order + 1] = string.sub(member, 15)
    end
  end
  orders[#orders + 1] = order
end
for _, rec in ipairs(all_leases()) do leases[#leases + 1] = export(rec) end
local drained = {}
for _, device in ipairs(all_devices()) do
  if device.drain then drained[#drained + 1] = { device.pool, device.name } end
end
return finish(orders, leases, drained)
