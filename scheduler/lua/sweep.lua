-- One bounded turn of everything that time brings: start times reached, leases lapsed, schedulers dead, deadlines to start
-- passed, records expired, ended tasks whose dependents are not settled. Any scheduler may run it at any moment.
-- ARGV: prefix, limit.
-- Reply: {ms until the next thing is due (-1: nothing known), {id, ms late, ...} to adopt, {ids} too late to start,
--   number erased, {ids} to settle, {nodes with ready tasks}, number promoted}
local limit = tonumber(ARGV[2])
local soonest = -1
local adopt, ready, promoted = {}, {}, 0

local function consider(key)
  local head = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
  if #head == 0 then return end
  local wait = math.max(0, tonumber(head[2]) - now)
  if soonest < 0 or wait < soonest then soonest = wait end
end

local function due(key)
  return redis.call('ZRANGEBYSCORE', key, '-inf', whole(now), 'LIMIT', 0, limit)
end

for _, node in ipairs(redis.call('SMEMBERS', prefix .. 'nodes')) do
  for _, id in ipairs(due(queue(node, 'delayed'))) do
    redis.call('ZREM', queue(node, 'delayed'), id)
    local record = read(id)
    if record and record.state == 'pending' then
      redis.call('HSET', task_key(id), 'waiting', '')
      make_ready(record, now)
      promoted = promoted + 1
    end
  end
  local lapsed = redis.call('ZRANGEBYSCORE', queue(node, 'lease'), '-inf', whole(now), 'WITHSCORES', 'LIMIT', 0, limit)
  for i = 1, #lapsed, 2 do
    adopt[#adopt + 1] = lapsed[i]
    adopt[#adopt + 1] = whole(now - tonumber(lapsed[i + 1]))
  end
  if redis.call('EXISTS', queue(node, 'ready')) == 1 then ready[#ready + 1] = node end
  consider(queue(node, 'delayed'))
end

for _, scheduler in ipairs(redis.call('ZRANGEBYSCORE', prefix .. 'schedulers', '-inf', whole(now), 'LIMIT', 0, 4)) do
  local orphans = redis.call('SRANDMEMBER', prefix .. 'owned:' .. scheduler, limit)
  for _, id in ipairs(orphans) do
    adopt[#adopt + 1] = id
    adopt[#adopt + 1] = '0'
  end
  if #orphans == 0 then
    redis.call('ZREM', prefix .. 'schedulers', scheduler)
    redis.call('DEL', prefix .. 'claims:' .. scheduler)
  end
end

-- Erased here and not by a call each: every task is, one day, and at the rate at which tasks come.
local erased = 0
for _, id in ipairs(due(prefix .. 'expiry')) do
  local record = read(id)
  if not record or not TERMINAL[record.state] then
    redis.call('ZREM', prefix .. 'expiry', id)
  elseif not redis.call('ZSCORE', prefix .. 'settle', id) then -- else those that wait for it must hear of its end first
    erase(record)
    erased = erased + 1
  end
end

redis.call('XTRIM', prefix .. 'feed', 'MINID', '~', whole(now - FEED_KEPT_MS))
local late = due(prefix .. 'deadlines')
local settle = redis.call('ZRANGE', prefix .. 'settle', 0, limit - 1)
consider(prefix .. 'deadlines')
consider(prefix .. 'expiry')
return { math.floor(soonest), adopt, late, erased, settle, ready, promoted }
