-- Stopping tasks, one or all of a workflow.

-- What a caller must know to tell the node.
local function stopping(record) return { record.id, record.address, record.attempt, record.fence } end

-- Stop a task that waits, at once; mark one that runs, so that whoever holds its stream tells the node.
-- order: nonce, reason, grace seconds ('' = the node's own), cancelling (body), cancelled (body), ttl (ms).
-- Returns 'cancelled' and whether others must be settled, 'cancelling', or nil for one that has ended or is being cancelled.
local function stop(record, order)
  if WAITING[record.state] then
    redis.call('HSET', task_key(record.id), 'cancel_nonce', order.nonce, 'cancel_reason', order.reason)
    return 'cancelled', close(record, 'cancelled', order.ttl, record.attempt, order.cancelled, '0')
  end
  if record.state ~= 'running' then return nil end
  redis.call('HSET', task_key(record.id), 'state', 'cancelling', 'updated', whole(now), 'cancel_nonce', order.nonce,
    'cancel_reason', order.reason, 'cancel_grace', order.grace)
  emit(record, record.attempt, order.cancelling)
  return 'cancelling', 0
end
