-- What all scripts share: keys, time, and the moves of a task between its places.
--
-- All files of this folder are one library of functions in Redis (redislink/lua.py), which is read once and not at each call: the
-- preludes, then each other file as the body of the script that has its name. What belongs to one call is set in prelude_6_script.lua.
--
-- ARGV[1] is the key prefix; it carries one Redis Cluster hash tag, so that keys which a script finds in its data (the user's
-- queue, the tasks that wait for this one) lie in the slot of those that it declares. Time is the server's, never a client's.
-- Numbers that leave through `..` go through whole(): Lua would print 16 digits as 1.7e+15.

local EVENTS_KEPT = 1000
local WORKFLOW_EVENTS_KEPT = 4000
local LINES_KEPT = 500
local ATTEMPTS_KEPT = 50
local FEED_KEPT = 100000
local FEED_KEPT_MS = 7 * 86400000
local ARGV, prefix, now_us, now

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
  'waiter', 'wf' }

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

local function append_event(id, kept, attempt, body, detached)
  local sequence = redis.call('HINCRBY', task_key(id), 'seq', 1)
  local at = whole(now)
  redis.call('XADD', part(id, 'ev'), 'MAXLEN', '~', kept, sequence .. '-0', 'a', attempt, 't', at, 'd', detached, 'e', body)
  redis.call('PUBLISH', prefix .. 'ev:' .. id, sequence .. ' ' .. attempt .. ' ' .. at .. ' ' .. detached .. ' ' .. body)
  return sequence
end

-- A workflow's own event: its name and a word of detail. Those of its tasks stand beside it, each behind `<id> <sequence>`.
local function emit_of_workflow(workflow, name, detail)
  append_event(workflow, WORKFLOW_EVENTS_KEPT, 0, '\n' .. name .. ' ' .. (detail or ''), '0')
end

-- Append one event; `detached` is '1' when its result lies in the task's result key, not in the event.
local function emit(record, attempt, body, detached)
  local id, workflow = record.id, record.wf
  local sequence = append_event(id, EVENTS_KEPT, attempt, body, detached or '0')
  -- Only where it lies: what an event says goes with its task.
  redis.call('XADD', prefix .. 'feed', 'MAXLEN', '~', FEED_KEPT, '*', 'v', sequence .. ' ' .. whole(now) .. ' ' .. id)
  if workflow ~= '' and redis.call('EXISTS', part(workflow, 'members')) == 1 then
    append_event(workflow, WORKFLOW_EVENTS_KEPT, attempt, id .. ' ' .. sequence .. '\n' .. body, detached or '0')
  end
  return sequence
end

local function count_one(user, field, change)
  if change == 0 then return end
  if redis.call('HINCRBY', user_key(user, 'count'), field, change) <= 0 then
    redis.call('HDEL', user_key(user, 'count'), field)
  end
  redis.call('HINCRBY', prefix .. 'totals', field, change)
end

local function count(user, queued, running)
  count_one(user, 'queued', queued)
  count_one(user, 'running', running)
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

-- `quiet`: the caller sees to it that somebody looks. Further fields of the record may be given, and are written with it.
local function make_ready(record, ready_at, quiet, ...)
  redis.call('ZADD', queue(record.node, 'ready'), ready_at, record.id)
  redis.call('ZADD', user_queue(record.node, record.user), record.qscore, record.id)
  redis.call('HSET', task_key(record.id), 'ready_at', whole(ready_at), ...)
  join_ring(record.node, record.user)
  if not quiet then wake(record.node) end
end

-- Put a pending task where it belongs: among the delayed until its time, else among the ready.
local function enqueue(record, not_before, quiet)
  if not_before > now then
    redis.call('HSET', task_key(record.id), 'state', 'pending', 'not_before', whole(not_before))
    redis.call('ZADD', queue(record.node, 'delayed'), not_before, record.id)
    redis.call('PUBLISH', prefix .. 'wake', 'delayed ' .. whole(not_before - now))
  else
    make_ready(record, now, quiet, 'state', 'pending', 'not_before', whole(not_before))
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

-- Keep what became of an attempt after which another follows; of the last one the record itself tells.
-- Lines: attempt, start ms, end ms, fence, outcome, replica, address, serialised TaskError or nothing.
local function note_attempt(record, outcome, ended, error)
  redis.call('RPUSH', part(record.id, 'attempts'), table.concat({ record.attempt, record.run, ended, record.fence, outcome,
    record.replica, record.address, error }, '\n'))
  redis.call('LTRIM', part(record.id, 'attempts'), -ATTEMPTS_KEPT, -1)
end

-- A live attempt's task goes back among those that wait; the caller says when. What became of the attempt is kept.
local function return_to_queue(record, outcome, error)
  if outcome then note_attempt(record, outcome, whole(now), error or '') end
  release(record)
  count(record.user, 1, 0)
  redis.call('HDEL', task_key(record.id), 'progress', 'contact')
  redis.call('HSET', task_key(record.id), 'waiting', '', 'updated', whole(now), 'owner', '')
end
