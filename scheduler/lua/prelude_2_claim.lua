-- Taking ready tasks for free slots: users in turn, each one's first by priority and age, limits respected. claim.lua does nothing
-- else; submit.lua does it with the task that it has just made ready, so that a task which finds a free slot waits for no second call.

local function shown_claim(id)
  return { id, redis.call('HGETALL', task_key(id)), redis.call('GET', part(id, 'spec')), redis.call('GET', part(id, 'checkpoint')) or '' }
end

-- The user whose turn it is, with the head of that user's queue. Users of one turn are ordered by their heads' priority and age.
local function next_head(node, max_user)
  local ring = queue(node, 'users')
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

-- Start the next attempt of a ready task; returns its fence.
local function take(record, ask)
  local ring = queue(record.node, 'users')
  local turn = redis.call('ZSCORE', ring, record.user)
  leave_ready(record)
  redis.call('ZREM', prefix .. 'deadlines', record.id)
  local served = redis.call('INCR', queue(record.node, 'turn'))
  redis.call('ZADD', ring, 'XX', served, record.user)
  count(record.user, -1, 1)
  local fence = whole(math.max(number(redis.call('GET', prefix .. 'fence')) + 1, now_us))
  redis.call('SET', prefix .. 'fence', fence)
  redis.call('HSET', task_key(record.id), 'state', 'running', 'attempt', number(record.attempt) + 1,
    'tries', number(record.tries) + 1, 'fence', fence, 'owner', ask.scheduler, 'replica', ask.replica, 'address', ask.address,
    'nseq', 0, 'run', whole(now), 'updated', whole(now), 'waiting', '', 'turn', turn or '', 'claimed', whole(now))
  if number(record.attempt) > 0 then redis.call('HDEL', task_key(record.id), 'progress', 'contact', 'error') end
  redis.call('ZADD', queue(record.node, 'lease'), now + ask.lease_ms, record.id)
  redis.call('SADD', prefix .. 'replica:' .. ask.replica, record.id)
  redis.call('SADD', prefix .. 'owned:' .. ask.scheduler, record.id)
  return fence
end

-- What the last call of this lane took, when this is a repetition of it: of those, what is still this scheduler's.
local function taken_before(claims, field, ask)
  local found = {}
  local last = redis.call('HGET', claims, field)
  if last then
    local token, rest = string.match(last, '^(%S+)(.*)$')
    if token == ask.token then
      for fence, id in string.gmatch(rest, ' (%S+) (%S+)') do
        local record = read(id)
        if owned(record, fence) and record.owner == ask.scheduler then found[#found + 1] = id end
      end
    end
  end
  return found
end

-- Take up to `ask.most` tasks of a node for one of its replicas.
-- ask: node, scheduler, replica, address, slots (of the replica), lease_ms, max_user and max_all (running; 0: no limit), lane, token, most.
-- Returns {'claimed', whether others are ready, {id, record, spec, checkpoint}, ...} | {'empty'} | {'full'} | {'limit'} | {'more'}.
-- The token makes a call whose answer was lost find what it took, instead of leaving it without an owner. One call at a time is under
-- way in each lane of an address, so it is enough to remember the last one.
local function claim(ask)
  local claims, field = prefix .. 'claims:' .. ask.scheduler, ask.address .. ' ' .. ask.lane
  local taken = taken_before(claims, field, ask)
  if #taken == 0 then
    local room = math.min(ask.most, ask.slots - redis.call('SCARD', prefix .. 'replica:' .. ask.replica))
    if room <= 0 then return { 'full' } end
    local note, outcome = ask.token, 'more'
    for _ = 1, 16 + room do
      if #taken == room then break end
      if ask.max_all > 0 and number(redis.call('HGET', prefix .. 'totals', 'running')) >= ask.max_all then
        outcome = 'limit'
        break
      end
      local user, id, nothing = next_head(ask.node, ask.max_user)
      if nothing then
        outcome = nothing
        break
      end
      local record = read(id)
      if not record or record.state ~= 'pending' then
        redis.call('ZREM', queue(ask.node, 'ready'), id)
        redis.call('ZREM', user_queue(ask.node, user), id)
      elseif not begun(record) and number(record.start_deadline) > 0 and number(record.start_deadline) <= now then
        leave_ready(record) -- too late to start: the sweeper finds it among the deadlines and fails it
      else
        note = note .. ' ' .. take(record, ask) .. ' ' .. id
        taken[#taken + 1] = id
      end
    end
    if #taken == 0 then return { outcome } end
    redis.call('EXPIRE', prefix .. 'replica:' .. ask.replica, 1209600)
    redis.call('HSET', claims, field, note)
  end
  local answer = { 'claimed', redis.call('EXISTS', queue(ask.node, 'users')) }
  for _, id in ipairs(taken) do answer[#answer + 1] = shown_claim(id) end
  return answer
end

-- The arguments after the prefix as a table, by name: ARGV is name, value, name, value, ... A name that is asked for and was not
-- given is an error. After the name `record`, whose value is empty, come fields and values of a record; the second result is where they begin.
local GIVEN = { __index = function(_, name) error('argument ' .. name .. ' was not given') end }
local function named_arguments()
  local given = setmetatable({}, GIVEN)
  for i = 2, #ARGV, 2 do
    if ARGV[i] == 'record' then return given, i + 2 end
    given[ARGV[i]] = ARGV[i + 1]
  end
  return given, #ARGV + 1
end

-- The same for several tasks: what comes before the first name `task`, and a list of {given, fields}, one for each.
local function named_sections()
  local given, tasks = setmetatable({}, GIVEN), {}
  local target, fields = given, nil
  for i = 2, #ARGV, 2 do
    local name, value = ARGV[i], ARGV[i + 1]
    if name == 'task' then
      target, fields = setmetatable({ task = value }, GIVEN), nil
      tasks[#tasks + 1] = { given = target, fields = {} }
    elseif name == 'record' then
      fields = tasks[#tasks].fields
    elseif fields then
      fields[#fields + 1] = name
      fields[#fields + 1] = value
    else
      target[name] = value
    end
  end
  return given, tasks
end

-- What to claim for; `most` of 0 or less claims nothing, and needs no other name.
local function claim_ask(node, given)
  local most = tonumber(given.most)
  if most <= 0 then return { most = 0 } end
  return {
    node = node, scheduler = given.caller, replica = given.replica, address = given.address, slots = tonumber(given.slots),
    lease_ms = tonumber(given.lease_ms), max_user = tonumber(given.max_running_of_user), max_all = tonumber(given.max_running),
    lane = given.lane, token = given.claim_token, most = most,
  }
end
