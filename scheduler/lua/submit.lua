-- Accept a task: dedupe, write, index, event 1, enqueue; or say which task is there already, or why it is refused. Then take what is
-- now first in the node's queue, when the caller knows of a free slot.
-- Names: id, sha, nonce, caller (the scheduler that stores it), user, spec, depends_on (ids with spaces between), priority,
--   not_before (ms, `+ms`: from now), start_deadline (ms, 0: none), asked (ms, 0: now), max_queued_of_user and max_queued (0: no
--   limit), the bodies of events accepted, accepted_blocked and run_again, and what to claim for as claim.lua has it (most of 0:
--   nothing); then `record` and the fields that the record begins with.
-- Reply: {outcome, state, created_us, must_settle, claimed}; `claimed` is empty or claim.lua's reply. The nonce tells a repetition of
-- this very call from another client's submit.
local given, first_field = named_arguments()
local id, nonce, user = given.id, given.nonce, given.user
local not_before, start_deadline, asked = tonumber(given.not_before), tonumber(given.start_deadline), tonumber(given.asked)
if string.sub(given.not_before, 1, 1) == '+' then not_before = now + not_before end

local function over_limit()
  local max_user, max_all = tonumber(given.max_queued_of_user), tonumber(given.max_queued)
  if max_user > 0 and number(redis.call('HGET', user_key(user, 'count'), 'queued')) >= max_user then return 'user_full' end
  if max_all > 0 and number(redis.call('HGET', prefix .. 'totals', 'queued')) >= max_all then return 'all_full' end
end

-- Take what is first now, and have the others told of what is ready after that.
local function claimed(node)
  local ask = claim_ask(node, given)
  local answer = ask.most > 0 and claim(ask) or {}
  local ready = answer[2] or redis.call('EXISTS', queue(node, 'users')) -- a claim that took something has looked
  if ready == 1 then wake(node, given.caller) end
  return answer
end

local record = read(id)
if record and TERMINAL[record.state] then
  local expire = redis.call('HGET', task_key(id), 'expire')
  if expire and tonumber(expire) <= now then
    erase(record)
    record = nil
  end
end

local again = false
if record then
  if record.nonce == nonce then
    local first = number(redis.call('HGET', task_key(id), 'first_seq'))
    local accepted = record.state == 'blocked' and 'blocked' or 'pending' -- as the first answer said, though it may run by now
    return { first > 1 and 'again' or 'created', accepted, record.created, 0, claimed(record.node) }
  end
  if redis.call('HGET', task_key(id), 'sha') ~= given.sha then return { 'conflict', record.state, record.created, 0 } end
  local reusable = redis.call('HGET', task_key(id), 'reusable')
  again = record.state == 'failed' or record.state == 'cancelled' or (record.state == 'completed' and reusable == '0')
  -- Who asked before it ended did not know its end: a request that was held up somewhere, or is repeated by a gateway.
  if again and asked > 0 and asked < number(redis.call('HGET', task_key(id), 'end')) then again = false end
  if not again then return { 'existing', record.state, record.created, 0 } end
end

local refused = over_limit()
if refused then return { refused, '', '0', 0 } end

local waits, must_settle = {}, {}
local position = 0
for dependency in string.gmatch(given.depends_on, '%S+') do
  local values = redis.call('HMGET', task_key(dependency), 'state', 'user')
  if not values[1] or values[2] ~= user then return { 'no_dependency', tostring(position), '0', 0 } end
  if values[1] ~= 'completed' and values[1] ~= 'skipped' then
    waits[#waits + 1] = dependency
    if TERMINAL[values[1]] then must_settle[#must_settle + 1] = dependency end
  end
  position = position + 1
end
for _, dependency in ipairs(must_settle) do redis.call('ZADD', prefix .. 'settle', now, dependency) end
local state = #waits > 0 and 'blocked' or 'pending'
must_settle = #must_settle > 0 and 1 or 0

if again then
  redis.call('HSET', task_key(id), 'nonce', nonce)
  run_again(record, given.run_again, waits, not_before, start_deadline, true)
  return { 'again', state, record.created, must_settle, claimed(record.node) }
end

redis.call('SET', part(id, 'spec'), given.spec)
redis.call('HSET', task_key(id), 'state', state, 'sha', given.sha, 'nonce', nonce, 'created', whole(now_us), 'updated', whole(now),
  'qscore', whole((100 - tonumber(given.priority)) * 1e13 + now), 'not_before', whole(not_before), 'start_deadline', given.start_deadline, 'attempt', 0, 'tries', 0,
  'lost', 0, 'first_seq', 1, unpack(ARGV, first_field))
record = read(id)
redis.call('ZADD', prefix .. 'tasks', now_us, id)
redis.call('ZADD', user_key(user, 'tasks'), now_us, id)
redis.call('ZADD', prefix .. 'workflow:' .. record.workflow, now_us, id)
redis.call('SADD', prefix .. 'nodes', record.node)
count(user, 1, 0)
emit(id, 0, #waits > 0 and given.accepted_blocked or given.accepted)
place(record, waits, not_before, true)
return { 'created', state, whole(now_us), must_settle, claimed(record.node) }
