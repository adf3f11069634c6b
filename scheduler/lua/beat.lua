-- Say that this scheduler lives, and renew the leases of the tasks whose nodes it is in contact with.
-- ARGV: prefix, scheduler, scheduler ttl ms, lease ms, then id, fence, age ms of the last message from the node, ...
-- Reply, one entry a task: {'lost'} | {'kept'} | {'cancelling', grace, reason}
-- An age of a whole lease or more renews nothing: the lease ends where the last message from the node put it.
local scheduler, lease_ms = ARGV[2], tonumber(ARGV[4])
redis.call('ZADD', prefix .. 'schedulers', now + tonumber(ARGV[3]), scheduler)
redis.call('EXPIRE', prefix .. 'claims:' .. scheduler, 3600)
local answers = {}
for i = 5, #ARGV, 3 do
  local record = read(ARGV[i])
  if not owned(record, ARGV[i + 1]) or record.owner ~= scheduler then
    answers[#answers + 1] = { 'lost' }
  else
    redis.call('ZADD', queue(record.node, 'lease'), 'XX', 'GT', now + lease_ms - tonumber(ARGV[i + 2]), record.id)
    if tonumber(ARGV[i + 2]) < lease_ms then redis.call('HDEL', task_key(record.id), 'contact') end
    if record.state == 'cancelling' then
      local cancel = redis.call('HMGET', task_key(record.id), 'cancel_grace', 'cancel_reason')
      answers[#answers + 1] = { 'cancelling', cancel[1] or '', cancel[2] or '' }
    else
      answers[#answers + 1] = { 'kept' }
    end
  end
end
return answers
