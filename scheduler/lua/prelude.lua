-- Put in front of every script. What all of them share: keys, time, and the moves of a task between its places.
--
-- ARGV[1] is the key prefix; it carries one Redis Cluster hash tag, so that keys which a script finds in its data (the user's
-- queue, the tasks that wait for this one) lie in the slot of those that it declares. Time is the server's, never a client's.
-- Numbers that leave through `..` go through whole(): Lua would print 16 digits as 1.7e+15.

local EVENTS_KEPT = 1000
local prefix = ARGV[1]
local clock = redis.call('TIME')
local now_us = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
local now = math.floor(now_us / 1000)

local function whole(number) return string.format('%.0f', number) end
local function task_key(id) return prefix .. 't:' .. id end
local function part(id, name) return prefix .. 't:' .. id .. ':' .. name end
local function queue(node, name) return prefix .. 'q:' .. node .. ':' .. name end
local function user_queue(node, user) return prefix .. 'q:' .. node .. ':u:' .. user end
local function user_key(user, name) return prefix .. 'u:' .. user .. ':' .. name end

local TERMINAL = { completed = true, failed = true, cancelled = true, skipped = true }
local WAITING = { pending = true, blocked = true }
local LIVE = { running = true, cancelling = true }

local FIELDS = { 'state', 'node', 'user', 'workflow', 'created', 'qscore', 'ready_at', 'not_before', 'start_deadline', 'attempt',
  'tries', 'lost', 'unbegun', 'fence', 'owner', 'replica', 'address', 'nseq', 'run', 'callback', 'cb_state', 'cb_round', 'nonce', 'turn',
  'waiter' }

-- The fields that scripts decide by, as a table; nil when there is no such task.
local function read(id)
  local values = redis.call('HMGET', task_key(id), unpack(FIELDS))
  if not values[1] then return nil end
  local record = { id = id }
  for i, field in ipairs(FIELDS) do record[field] = values[i] or '' end
  return record
end

local function number(text) return tonumber(text) or 0 end

-- Whether an attempt of this life counts as started: then no start deadline concerns the task any more. An attempt that was handed
-- back does not count, one whose node was lost does, though it is not held against the retry policy.
local function begun(record) return number(record.tries) > 0 or number(record.lost) > 0 end

local function owned(record, fence)
  return record and LIVE[record.state] and record.fence == fence
end

-- Append one event; `detached` is '1' when its result lies in the task's result key, not in the event.
local function emit(id, attempt, body, detached)
  local sequence = redis.call('HINCRBY', task_key(id), 'seq', 1)
  local at = whole(now)
  redis.call('XADD', part(id, 'ev'), 'MAXLEN', '~', EVENTS_KEPT, sequence .. '-0',
    'a', attempt, 't', at, 'd', detached or '0', 'e', body)
  redis.call('PUBLISH', prefix .. 'ev:' .. id, sequence .. ' ' .. attempt .. ' ' .. at .. ' ' .. (detached or '0') .. ' ' .. body)
  return sequence
end

local function count(user, queued, running)
  for field, change in pairs({ queued = queued, running = running }) do
    if change ~= 0 then
      if redis.call('HINCRBY', user_key(user, 'count'), field, change) <= 0 then
        redis.call('HDEL', user_key(user, 'count'), field)
      end
      redis.call('HINCRBY', prefix .. 'totals', field, change)
    end
  end
end

-- Tell every scheduler that a node has work. When the only living one has made it ready itself (`caller`), there is nobody to tell.
local function wake(node, caller)
  if caller and caller ~= '' and redis.call('ZCARD', prefix .. 'schedulers') == 1
    and redis.call('ZSCORE', prefix .. 'schedulers', caller) then
    return
  end
  redis.call('PUBLISH', prefix .. 'wake', 'node ' .. node .. ' ' .. (caller or ''))
end

-- A user comes in half a turn before the one who was served last: behind everybody who waits, never ahead of them.
local function join_ring(node, user)
  if redis.call('SISMEMBER', user_key(user, 'held'), node) == 1 then return end
  local turn = number(redis.call('GET', queue(node, 'turn')))
  redis.call('ZADD', queue(node, 'users'), 'NX', turn - 0.5, user)
end

local function leave_ring(node, user)
  redis.call('ZREM', queue(node, 'users'), user)
  redis.call('SREM', user_key(user, 'held'), node)
end

-- `quiet`: the caller sees to it that somebody looks.
local function make_ready(record, ready_at, quiet)
  redis.call('ZADD', queue(record.node, 'ready'), ready_at, record.id)
  redis.call('ZADD', user_queue(record.node, record.user), record.qscore, record.id)
  redis.call('HSET', task_key(record.id), 'ready_at', whole(ready_at))
  join_ring(record.node, record.user)
  if not quiet then wake(record.node) end
end

-- Put a pending task where it belongs: among the delayed until its time, else among the ready.
local function enqueue(record, not_before, quiet)
  redis.call('HSET', task_key(record.id), 'state', 'pending', 'not_before', whole(not_before))
  if not_before > now then
    redis.call('ZADD', queue(record.node, 'delayed'), not_before, record.id)
    redis.call('PUBLISH', prefix .. 'wake', 'delayed ' .. whole(not_before - now))
  else
    make_ready(record, now, quiet)
  end
end

-- Put a new task, or one that runs again, where it waits: behind its dependencies, or among the delayed or the ready.
local function place(record, waits, not_before, quiet)
  local deadline = number(record.start_deadline)
  if deadline > 0 then redis.call('ZADD', prefix .. 'deadlines', deadline, record.id) end
  if #waits == 0 then return enqueue(record, not_before, quiet) end
  redis.call('HSET', task_key(record.id), 'state', 'blocked', 'not_before', whole(not_before))
  redis.call('ZADD', queue(record.node, 'blocked'), now, record.id)
  redis.call('SADD', part(record.id, 'wait'), unpack(waits))
  for _, dependency in ipairs(waits) do redis.call('SADD', part(dependency, 'dependents'), record.id) end
end

local function leave_ready(record)
  redis.call('ZREM', queue(record.node, 'ready'), record.id)
  redis.call('ZREM', user_queue(record.node, record.user), record.id)
  if redis.call('ZCARD', user_queue(record.node, record.user)) == 0 then leave_ring(record.node, record.user) end
end

local function leave_waiting(record)
  leave_ready(record)
  redis.call('ZREM', queue(record.node, 'delayed'), record.id)
  redis.call('ZREM', queue(record.node, 'blocked'), record.id)
  redis.call('ZREM', prefix .. 'deadlines', record.id)
  redis.call('DEL', part(record.id, 'wait'))
  count(record.user, -1, 0)
end

-- Give back the slot; users who were held at their limit get their place in the ring again.
local function release(record)
  redis.call('ZREM', queue(record.node, 'lease'), record.id)
  redis.call('SREM', prefix .. 'replica:' .. record.replica, record.id)
  redis.call('SREM', prefix .. 'owned:' .. record.owner, record.id)
  count(record.user, 0, -1)
  for _, node in ipairs(redis.call('SMEMBERS', user_key(record.user, 'held'))) do
    redis.call('SREM', user_key(record.user, 'held'), node)
    join_ring(node, record.user)
    wake(node)
  end
end

-- A live attempt's task goes back among those that wait; the caller says when.
local function return_to_queue(record)
  release(record)
  count(record.user, 1, 0)
  redis.call('HDEL', task_key(record.id), 'progress', 'heard')
  redis.call('HSET', task_key(record.id), 'waiting', '', 'updated', whole(now), 'owner', '')
end

local function due_callback(record)
  if record.callback == '' then return end
  local round = number(record.cb_round) + 1
  redis.call('HSET', task_key(record.id), 'cb_state', 'pending', 'cb_round', round, 'cb_tries', 0, 'cb_next', whole(now))
  redis.call('HDEL', task_key(record.id), 'cb_hold', 'cb_again')
  redis.call('ZADD', prefix .. 'outbox', now, record.id)
  redis.call('PUBLISH', prefix .. 'wake', 'outbox')
end

-- Note an ended task whose dependents must be told. Returns 1 when there are any, else 0.
local function settle_later(record)
  if redis.call('EXISTS', part(record.id, 'dependents')) == 0 then return 0 end
  redis.call('ZADD', prefix .. 'settle', now, record.id)
  return 1
end

-- The one way into a terminal state: frees what the task held, appends the terminal event, makes the callback due.
-- Returns 1 when other tasks wait for this one and must be settled.
local function close(record, state, ttl_ms, attempt, body, detached, fields)
  if LIVE[record.state] then release(record) else leave_waiting(record) end
  local expire = now + ttl_ms
  redis.call('HSET', task_key(record.id), 'state', state, 'end', whole(now), 'updated', whole(now), 'expire', whole(expire),
    'waiting', '', 'owner', '', unpack(fields or { 'duration', '0' }))
  redis.call('ZADD', prefix .. 'expiry', expire, record.id)
  redis.call('DEL', part(record.id, 'checkpoint'))
  emit(record.id, attempt, body, detached)
  if record.waiter ~= '' and record.waiter ~= record.owner then
    redis.call('PUBLISH', prefix .. 'wake', 'ended ' .. record.waiter .. ' ' .. record.id)
  end
  due_callback(record)
  return settle_later(record)
end

-- Append what a node reported: triples of (kind, the node's own sequence, body). What is not newer than the last one stored is a
-- repetition and is left out, so that a repeated call, or two schedulers on one attempt, never doubles an event.
local function append_all(record, first)
  local last = number(record.nseq)
  for i = first, #ARGV, 3 do
    local kind, sequence, body = ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2]
    if sequence > last then
      last = sequence
      if kind == 'checkpoint' then
        redis.call('SET', part(record.id, 'checkpoint'), body)
      else
        if kind == 'progress' then
          redis.call('HSET', task_key(record.id), 'progress', body, 'waiting', '')
        elseif string.sub(kind, 1, 8) == 'waiting:' then
          redis.call('HSET', task_key(record.id), 'waiting', string.sub(kind, 9))
        end
        emit(record.id, record.attempt, body)
      end
    end
  end
  redis.call('HSET', task_key(record.id), 'nseq', last, 'updated', whole(now))
end

-- Remove every trace of an ended task but the set of those that wait for it: settle_dependents needs it, and removes it.
local function erase(record)
  redis.call('ZREM', prefix .. 'tasks', record.id)
  redis.call('ZREM', user_key(record.user, 'tasks'), record.id)
  redis.call('ZREM', prefix .. 'workflow:' .. record.workflow, record.id)
  redis.call('ZREM', prefix .. 'expiry', record.id)
  redis.call('ZREM', prefix .. 'outbox', record.id)
  redis.call('ZREM', prefix .. 'dead', record.id)
  redis.call('ZREM', queue(record.node, 'dead'), record.id)
  redis.call('UNLINK', task_key(record.id), part(record.id, 'spec'), part(record.id, 'input'), part(record.id, 'result'),
    part(record.id, 'checkpoint'), part(record.id, 'ev'), part(record.id, 'deliveries'), part(record.id, 'wait'))
  redis.call('PUBLISH', prefix .. 'ev:' .. record.id, '')
  return settle_later(record)
end

-- Let an ended task run again under its own id. Attempt numbers go on growing, because a node tells attempts apart by them.
local function run_again(record, body, waits, not_before, start_deadline, quiet)
  redis.call('ZREM', prefix .. 'expiry', record.id)
  redis.call('ZREM', prefix .. 'outbox', record.id)
  redis.call('ZREM', prefix .. 'dead', record.id)
  redis.call('ZREM', queue(record.node, 'dead'), record.id)
  redis.call('UNLINK', part(record.id, 'result'), part(record.id, 'input'))
  redis.call('HDEL', task_key(record.id), 'error', 'progress', 'end', 'expire', 'duration', 'cancel_reason', 'cancel_grace',
    'cancel_nonce', 'cb_state', 'cb_hold', 'cb_again', 'cb_next', 'reusable', 'heard')
  redis.call('HSET', task_key(record.id), 'tries', 0, 'lost', 0, 'unbegun', 0, 'waiting', '', 'updated', whole(now),
    'start_deadline', whole(start_deadline))
  record.start_deadline = start_deadline
  count(record.user, 1, 0)
  local sequence = emit(record.id, record.attempt, body)
  redis.call('HSET', task_key(record.id), 'first_seq', sequence)
  place(record, waits, not_before, quiet)
end
