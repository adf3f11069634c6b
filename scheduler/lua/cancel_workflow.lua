-- Stop every task of a workflow that has not ended: those that wait at once, those that run by a mark.
-- ARGV: prefix, id of its record, nonce, reason, grace seconds ('' = the node's own), cancelling body, cancelled body, ttl ms.
-- Reply: {'cancelling', {ids to settle}, {{id, address, attempt, fence}, ... that run}, {`node id` of those that waited}} | {'wrong', state} | {'missing'}
local id = ARGV[2]
local workflow = read(id)
if not workflow then return { 'missing' } end
local again = redis.call('HGET', task_key(id), 'cancel_nonce') == ARGV[3]
if workflow.state ~= 'running' and not again then return { 'wrong', workflow.state } end
local order = {
  nonce = ARGV[3], reason = ARGV[4], grace = ARGV[5], cancelling = ARGV[6], cancelled = ARGV[7], ttl = tonumber(ARGV[8]),
}
if not again then
  redis.call('HSET', task_key(id), 'state', 'cancelling', 'updated', whole(now), 'cancel_nonce', ARGV[3], 'cancel_reason', ARGV[4])
  emit_of_workflow(id, 'cancelling', ARGV[4])
end
local settle, running, waited = {}, {}, {}
for _, member in ipairs(redis.call('LRANGE', part(id, 'members'), 0, -1)) do
  local record = read(member)
  if record then
    local outcome, must_settle = stop(record, order)
    if outcome == 'cancelling' or record.state == 'cancelling' then running[#running + 1] = stopping(record) end
    if outcome == 'cancelled' then waited[#waited + 1] = record.node .. ' ' .. member end
    if must_settle == 1 then settle[#settle + 1] = member end
  end
end
return { 'cancelling', settle, running, waited }
