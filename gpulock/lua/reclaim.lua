-- A client says that it holds a lease, after the store may have forgotten it. Arguments: as acquire, then token, grant time in µs, and
-- the devices as `name:MiB,…`. Gives `renewed` or `lost`.
local client, node, given = arg(13), arg(14), number(16)
local rec = load(arg(1))
if rec and rec.st ~= 'W' then
  if rec.tok == given and rec.st == 'G' then
    attach(rec, client, node)
    beat(rec)
    save(rec)
    if rec.stop then push('stop', rec, rec.stop) end
    return finish('renewed', export_lease(rec))
  end
  if rec.tok >= given then return finish('lost', export(rec), rec.stop or rec.ended or 'superseded') end
end
-- Once grants have begun again, nobody can tell whether a lease that is not on record was ever revoked.
if state.phase ~= 'recover' or not pools[arg(2)] then return finish('lost', {}, 'heartbeat') end

local mine = { id = arg(1), pool = arg(2), dev = arg(3), mib = number(4), n = number(5), prio = number(6), user = arg(7), task = arg(8),
  what = arg(9), wait = number(10), pre = arg(11) == '1', client = client, node = node, host = arg(15), replica = me, st = 'G',
  enq = number(17), ga = math.min(number(17), now), tok = given, devs = {} }
local devices, by_name = load_devices(mine.pool)
local asked = {}
for name, mib in string.gmatch(arg(18), '([^:,]+):(%d+)') do
  if not by_name[name] then return finish('lost', {}, 'superseded') end
  mine.devs[#mine.devs + 1] = { name, tonumber(mib) }
  asked[name] = tonumber(mib)
end
if #mine.devs == 0 then return finish('lost', {}, 'superseded') end

-- Two holders of one device after a stale failover: the higher token is the later grant, and wins.
local losers = {}
for _, other in ipairs(load_all()) do
  if other.id ~= mine.id and other.st == 'G' and other.pool == mine.pool then
    for _, device in ipairs(other.devs) do
      local on = by_name[device[1]]
      if asked[device[1]] and on.free < asked[device[1]] then
        if other.tok > given then return finish('lost', {}, 'superseded') end
        on.free = on.free + device[2]
        losers[other.id] = other
      end
    end
  end
end
for _, other in pairs(losers) do revoke(other, 'superseded', mine.id .. ' holds a later lease') end
if rec and rec.st == 'W' then dequeue(rec, false) end
state.tok = math.max(state.tok, given)
take(IN_USE, mine, 1)
beat(mine)
if mine.pre then redis.call('ZADD', YIELD, whole(now), mine.id) end
save(mine)
incr(mine.pool, 'reclaims')
emit('granted', mine, 'reclaimed', device_list(mine))
return finish('renewed', export_lease(mine))
