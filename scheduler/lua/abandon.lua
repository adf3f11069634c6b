-- Fail a task that has not started by its start deadline.
-- ARGV: prefix, id, error, failed body, ttl ms.   Reply: {'failed', must_settle, node} | {'kept', 0}
local record = read(ARGV[2])
if not record or not WAITING[record.state] or begun(record) then
  redis.call('ZREM', prefix .. 'deadlines', ARGV[2])
  return { 'kept', 0 }
end
if number(record.start_deadline) == 0 or number(record.start_deadline) > now then return { 'kept', 0 } end
return { 'failed', close(record, 'failed', tonumber(ARGV[5]), record.attempt, ARGV[4], '0', { 'duration', '0', 'error', ARGV[3] }), record.node }
