-- The node of a live attempt is gone: another attempt follows, or, after too many, the task fails and becomes a dead letter.
-- ARGV: prefix, id, fence, scheduler, max lost, ttl ms, duration, error, retrying body, failed body, cancelled body, max unbegun.
-- Reply: {'retrying' | 'failed' | 'cancelled' | 'stale', must_settle}. Only the owner may say so: another scheduler may still
-- reach the node. An attempt of which the node never said anything is most likely one that never began: it is not held against the
-- task, but counted apart, because work that kills its node at once looks the same.
local id = ARGV[2]
local record = read(id)
if not owned(record, ARGV[3]) or record.owner ~= ARGV[4] then return { 'stale', 0 } end
local lost = number(record.lost) + 1
local unbegun = number(record.unbegun) + (number(record.nseq) > 0 and 0 or 1)
redis.call('HSET', task_key(id), 'lost', lost, 'unbegun', unbegun)
local ttl = tonumber(ARGV[6])
if record.state == 'cancelling' then
  return { 'cancelled', close(record, 'cancelled', ttl, record.attempt, ARGV[11], '0', { 'duration', ARGV[7] }) }
end
if lost - unbegun >= tonumber(ARGV[5]) or unbegun >= tonumber(ARGV[12]) then
  redis.call('ZADD', prefix .. 'dead', now_us, id)
  redis.call('ZADD', queue(record.node, 'dead'), now_us, id)
  return { 'failed', close(record, 'failed', ttl, record.attempt, ARGV[10], '0', { 'duration', ARGV[7], 'error', ARGV[8] }) }
end
return_to_queue(record, 'lost', ARGV[8])
-- An attempt whose node was lost does not count against the retry policy.
redis.call('HSET', task_key(id), 'tries', number(record.tries) - 1, 'state', 'pending', 'waiting', 'its node was lost')
emit(record, record.attempt, ARGV[9])
make_ready(record, now)
return { 'retrying', 0 }
