-- Take one task for one free slot: users in turn, the user's first by priority and age, limits respected.
-- ARGV: prefix, node, scheduler, replica, address, slots, lease ms, max running of a user, max running in all, claim token
-- Reply: {'claimed', id, record, spec, checkpoint, whether others are ready} | {'empty'} | {'full'} | {'limit'} | {'more'}.
-- The token makes a call whose answer was lost find the task that it took, instead of leaving it without an owner.
local node, scheduler, replica, address = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local lease_ms, max_user, max_all, token = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9]), ARGV[10]
local claims = prefix .. 'claims:' .. scheduler

local function answer(id)
  return { 'claimed', id, redis.call('HGETALL', task_key(id)), redis.call('GET', part(id, 'spec')),
    redis.call('GET', part(id, 'checkpoint')) or '', redis.call('EXISTS', queue(node, 'users')) }
end

local last = redis.call('HGET', claims, address)
if last then
  local taker, fence, id = string.match(last, '^(%S+) (%S+) (.+)$')
  if taker == token then
    local record = read(id)
    if owned(record, fence) and record.owner == scheduler then return answer(id) end
  end
end

if redis.call('SCARD', prefix .. 'replica:' .. replica) >= tonumber(ARGV[6]) then return { 'full' } end
if max_all > 0 and number(redis.call('HGET', prefix .. 'totals', 'running')) >= max_all then return { 'limit' } end

local ring = queue(node, 'users')

-- The user whose turn it is, with the head of that user's queue. Users of one turn are ordered by their heads' priority and age.
local function next_head()
  for _ = 1, 64 do
    local first = redis.call('ZRANGE', ring, 0, 0, 'WITHSCORES')
    if #first == 0 then return nil, nil, 'empty' end
    local user, id, best
    for _, candidate in ipairs(redis.call('ZRANGEBYSCORE', ring, first[2], first[2], 'LIMIT', 0, 8)) do
      local head = redis.call('ZRANGE', user_queue(node, candidate), 0, 0, 'WITHSCORES')
      if #head == 0 then
        redis.call('ZREM', ring, candidate)
      elseif max_user > 0 and number(redis.call('HGET', user_key(candidate, 'count'), 'running')) >= max_user then
        redis.call('ZREM', ring, candidate)
        redis.call('SADD', user_key(candidate, 'held'), node)
      elseif not best or tonumber(head[2]) < best then
        user, id, best = candidate, head[1], tonumber(head[2])
      end
    end
    if user then return user, id end
  end
  return nil, nil, 'more'
end

local function take(record)
  local turn = redis.call('ZSCORE', ring, record.user)
  leave_ready(record)
  redis.call('ZREM', prefix .. 'deadlines', record.id)
  local served = redis.call('INCR', queue(node, 'turn'))
  redis.call('ZADD', ring, 'XX', served, record.user)
  count(record.user, -1, 1)
  local fence = math.max(number(redis.call('GET', prefix .. 'fence')) + 1, now_us)
  redis.call('SET', prefix .. 'fence', whole(fence))
  redis.call('HSET', task_key(record.id), 'state', 'running', 'attempt', number(record.attempt) + 1,
    'tries', number(record.tries) + 1, 'fence', whole(fence), 'owner', scheduler, 'replica', replica, 'address', address,
    'nseq', 0, 'run', whole(now), 'updated', whole(now), 'waiting', '', 'turn', turn or '', 'claimed', whole(now))
  redis.call('HDEL', task_key(record.id), 'progress', 'heard', 'error')
  redis.call('ZADD', queue(node, 'lease'), now + lease_ms, record.id)
  redis.call('SADD', prefix .. 'replica:' .. replica, record.id)
  redis.call('EXPIRE', prefix .. 'replica:' .. replica, 1209600)
  redis.call('SADD', prefix .. 'owned:' .. scheduler, record.id)
  redis.call('HSET', claims, address, token .. ' ' .. whole(fence) .. ' ' .. record.id)
end

for _ = 1, 16 do
  local user, id, nothing = next_head()
  if nothing then return { nothing } end
  local record = read(id)
  if not record or record.state ~= 'pending' then
    redis.call('ZREM', queue(node, 'ready'), id)
    redis.call('ZREM', user_queue(node, user), id)
  elseif not begun(record) and number(record.start_deadline) > 0 and number(record.start_deadline) <= now then
    leave_ready(record) -- too late to start: the sweeper finds it among the deadlines and fails it
  else
    take(record)
    return answer(id)
  end
end
return { 'more' }
