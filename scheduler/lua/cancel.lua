-- Stop a task: at once when it waits, else mark it so that whoever holds its stream tells the node.
-- ARGV: prefix, id, nonce, reason, grace seconds ('' = the node's own), cancelling body, cancelled body, ttl ms.
-- Reply: {'cancelled', must_settle} | {'cancelling', 0, address, attempt, fence} | {'wrong', state} | {'missing'}
local id = ARGV[2]
local record = read(id)
if not record then return { 'missing' } end
if redis.call('HGET', task_key(id), 'cancel_nonce') == ARGV[3] then
  if record.state == 'cancelled' then return { 'cancelled', redis.call('EXISTS', part(id, 'dependents')) } end
  return { 'cancelling', 0, record.address, record.attempt, record.fence }
end
if WAITING[record.state] then
  redis.call('HSET', task_key(id), 'cancel_nonce', ARGV[3], 'cancel_reason', ARGV[4])
  return { 'cancelled', close(record, 'cancelled', tonumber(ARGV[8]), record.attempt, ARGV[7], '0') }
end
if record.state ~= 'running' then return { 'wrong', record.state } end
redis.call('HSET', task_key(id), 'state', 'cancelling', 'updated', whole(now), 'cancel_nonce', ARGV[3], 'cancel_reason', ARGV[4],
  'cancel_grace', ARGV[5])
emit(id, record.attempt, ARGV[6])
return { 'cancelling', 0, record.address, record.attempt, record.fence }
