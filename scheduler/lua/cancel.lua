-- Stop a task: at once when it waits, else mark it so that whoever holds its stream tells the node.
-- ARGV: prefix, id, nonce, reason, grace seconds ('' = the node's own), cancelling body, cancelled body, ttl ms.
-- Reply: {'cancelled', must_settle, node} | {'cancelling', 0, address, attempt, fence} | {'wrong', state} | {'missing'}
local id = ARGV[2]
local record = read(id)
if not record then return { 'missing' } end
if redis.call('HGET', task_key(id), 'cancel_nonce') == ARGV[3] then
  if record.state == 'cancelled' then return { 'cancelled', redis.call('EXISTS', part(id, 'dependents')), record.node } end
  return { 'cancelling', 0, record.address, record.attempt, record.fence }
end
local outcome, must_settle = stop(record, {
  nonce = ARGV[3], reason = ARGV[4], grace = ARGV[5], cancelling = ARGV[6], cancelled = ARGV[7], ttl = tonumber(ARGV[8]),
})
if not outcome then return { 'wrong', record.state } end
if outcome == 'cancelled' then return { outcome, must_settle, record.node } end
return { outcome, 0, record.address, record.attempt, record.fence }
