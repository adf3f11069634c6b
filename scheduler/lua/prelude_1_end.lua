-- How tasks, and the workflows that they were submitted with, end; and how ended ones go away or run again.

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

-- Whether a record is a workflow's: it lies among those of tasks, under an id that no task can have, so that events, callbacks and
-- expiry serve both.
local function is_workflow(id) return string.sub(id, 1, 9) == 'workflow/' end

-- How a workflow ended whose tasks have all ended.
local function workflow_end(workflow, members)
  local worst = 'completed'
  for _, id in ipairs(members) do
    local state = redis.call('HGET', task_key(id), 'state')
    if state == 'cancelled' and (workflow.state == 'cancelling' or worst == 'completed') then worst = state end
    if state == 'failed' and not (workflow.state == 'cancelling' and worst == 'cancelled') then worst = state end
  end
  return worst
end

-- A task of a workflow has ended. With the last one the workflow ends: from now on the records of both age, and its callback is due.
local function member_ended(record)
  redis.call('SREM', part(record.wf, 'open'), record.id)
  local workflow = read(record.wf)
  if not workflow or TERMINAL[workflow.state] or redis.call('EXISTS', part(record.wf, 'open')) == 1 then return end
  local members = redis.call('LRANGE', part(record.wf, 'members'), 0, -1)
  local state, expire = workflow_end(workflow, members), now + number(redis.call('HGET', task_key(record.wf), 'ttl'))
  redis.call('HSET', task_key(record.wf), 'state', state, 'end', whole(now), 'updated', whole(now), 'expire', whole(expire))
  redis.call('ZADD', prefix .. 'expiry', expire, record.wf)
  for _, id in ipairs(members) do
    redis.call('HSET', task_key(id), 'expire', whole(expire))
    redis.call('ZADD', prefix .. 'expiry', expire, id)
  end
  emit_of_workflow(record.wf, 'ended', state)
  due_callback(workflow)
end

-- An ended task of a workflow runs again: if the workflow had ended, it has no longer.
local function member_reopened(record)
  local workflow = read(record.wf)
  if not workflow then return end
  redis.call('SADD', part(record.wf, 'open'), record.id)
  if not TERMINAL[workflow.state] then return end
  redis.call('HSET', task_key(record.wf), 'state', 'running', 'updated', whole(now))
  redis.call('HDEL', task_key(record.wf), 'end', 'expire', 'cancel_nonce', 'cancel_reason', 'cb_state', 'cb_hold', 'cb_again', 'cb_next')
  redis.call('ZREM', prefix .. 'outbox', record.wf)
  redis.call('ZREM', prefix .. 'expiry', record.wf)
  for _, id in ipairs(redis.call('LRANGE', part(record.wf, 'members'), 0, -1)) do
    redis.call('HDEL', task_key(id), 'expire')
    redis.call('ZREM', prefix .. 'expiry', id)
  end
  emit_of_workflow(record.wf, 'retrying')
end

-- The one way into a terminal state: frees what the task held, appends the terminal event, makes the callback due.
-- Returns 1 when other tasks wait for this one and must be settled.
local function close(record, state, ttl_ms, attempt, body, detached, fields)
  if LIVE[record.state] then release(record) else leave_waiting(record) end
  fields = fields or { 'duration', '0' }
  if record.wf == '' then
    fields[#fields + 1] = 'expire'
    fields[#fields + 1] = whole(now + ttl_ms)
    redis.call('ZADD', prefix .. 'expiry', now + ttl_ms, record.id)
  end
  redis.call('HSET', task_key(record.id), 'state', state, 'end', whole(now), 'updated', whole(now),
    'waiting', '', 'owner', '', 'ended_fence', LIVE[record.state] and record.fence or '', unpack(fields))
  redis.call('DEL', part(record.id, 'checkpoint'))
  emit(record, attempt, body, detached)
  if record.waiter ~= '' and record.waiter ~= record.owner then
    redis.call('PUBLISH', prefix .. 'wake', 'ended ' .. record.waiter .. ' ' .. record.id)
  end
  due_callback(record)
  if record.wf ~= '' then member_ended(record) end
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
        local line = false
        if kind == 'progress' then
          redis.call('HSET', task_key(record.id), 'progress', body, 'waiting', '')
        elseif kind == 'log' then
          line = true
        elseif string.sub(kind, 1, 8) == 'waiting:' then
          redis.call('HSET', task_key(record.id), 'waiting', string.sub(kind, 9))
        end
        local told = emit(record, record.attempt, body)
        if line then -- kept apart, because events of progress push it out of the others within minutes
          redis.call('XADD', part(record.id, 'log'), 'MAXLEN', '~', LINES_KEPT, told .. '-0',
            'a', record.attempt, 't', whole(now), 'e', body)
        end
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
    part(record.id, 'checkpoint'), part(record.id, 'ev'), part(record.id, 'deliveries'), part(record.id, 'wait'),
    part(record.id, 'attempts'), part(record.id, 'log'))
  redis.call('PUBLISH', prefix .. 'ev:' .. record.id, '')
  if is_workflow(record.id) then
    redis.call('ZREM', prefix .. 'workflows', record.id)
    redis.call('ZREM', user_key(record.user, 'workflows'), record.id)
    redis.call('UNLINK', part(record.id, 'open'), part(record.id, 'members'))
  elseif record.wf ~= '' then
    redis.call('LREM', part(record.wf, 'members'), 0, record.id)
  end
  return settle_later(record)
end

-- Let an ended task run again under its own id. Attempt numbers go on growing, because a node tells attempts apart by them.
local function run_again(record, body, waits, not_before, start_deadline, quiet)
  local last = redis.call('HMGET', task_key(record.id), 'ended_fence', 'end', 'error')
  if last[1] and last[1] ~= '' then note_attempt(record, record.state, last[2] or '0', record.state == 'failed' and last[3] or '') end
  redis.call('ZREM', prefix .. 'expiry', record.id)
  redis.call('ZREM', prefix .. 'outbox', record.id)
  redis.call('ZREM', prefix .. 'dead', record.id)
  redis.call('ZREM', queue(record.node, 'dead'), record.id)
  redis.call('UNLINK', part(record.id, 'result'), part(record.id, 'input'))
  redis.call('HDEL', task_key(record.id), 'error', 'progress', 'end', 'expire', 'duration', 'cancel_reason', 'cancel_grace',
    'cancel_nonce', 'cb_state', 'cb_hold', 'cb_again', 'cb_next', 'reusable', 'contact', 'ended_fence')
  redis.call('HSET', task_key(record.id), 'tries', 0, 'lost', 0, 'unbegun', 0, 'waiting', '', 'updated', whole(now),
    'start_deadline', whole(start_deadline))
  record.start_deadline = start_deadline
  count(record.user, 1, 0)
  if record.wf ~= '' then member_reopened(record) end
  local sequence = emit(record, record.attempt, body)
  redis.call('HSET', task_key(record.id), 'first_seq', sequence)
  place(record, waits, not_before, quiet)
end
