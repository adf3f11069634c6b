-- Keep a model on the devices between tasks. Arguments: id, token, model, MiB it needs while it idles (0: all), load seconds in ms.
-- Gives `parked`, `lost` or `stale`.
local rec = load(arg(1))
if not rec then return finish(state.phase == 'recover' and 'reclaim' or 'lost', {}, 'heartbeat') end
if rec.st == 'W' or not fresh(rec, number(2)) then return finish('stale') end
if rec.st ~= 'G' then return finish('lost', export(rec), rec.stop or rec.ended) end
if not rec.parked then
  count_hold(rec)
  rec.parked, rec.model, rec.load_ms, rec.pre = true, arg(3), number(5), true
  if rec.stop == 'soft_timeout' then rec.stop, rec.stopat = nil, nil end
  if number(4) > 0 then
    take(IN_USE, rec, -1)
    for _, device in ipairs(rec.devs) do device[2] = math.min(device[2], number(4)) end
    take(IN_USE, rec, 1)
  end
  redis.call('ZADD', YIELD, whole(now), rec.id)
  beat(rec)
  save(rec)
  emit('parked', rec, rec.model, device_list(rec))
  local _, by_name = load_devices(rec.pool)
  for _, device in ipairs(rec.devs) do
    if by_name[device[1]] and by_name[device[1]].drain then ask_to_stop(rec, 'drain', conf.yield_us, 'the device is being drained') end
  end
  schedule(rec.pool)
  rec = load(rec.id)
end
return finish('parked', export(rec))
