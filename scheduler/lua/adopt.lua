-- Become the owner of a live attempt whose lease has lapsed or whose scheduler is dead. The attempt stays the same.
-- ARGV: prefix, id, scheduler, lease ms.
-- Reply: {'adopted', record, spec, resolved input, checkpoint, ms since the last contact with its node} | {'kept'}
local id, scheduler, lease_ms = ARGV[2], ARGV[3], tonumber(ARGV[4])
local record = read(id)
if not record or not LIVE[record.state] then return { 'kept' } end
local lease = tonumber(redis.call('ZSCORE', queue(record.node, 'lease'), id) or 0)
local alive = tonumber(redis.call('ZSCORE', prefix .. 'schedulers', record.owner) or 0)
if lease > now and alive > now then return { 'kept' } end
local contact = redis.call('HGET', task_key(id), 'contact')
if not contact then
  contact = whole(math.min(now, lease - lease_ms))
  redis.call('HSET', task_key(id), 'contact', contact)
end
redis.call('SREM', prefix .. 'owned:' .. record.owner, id)
redis.call('SADD', prefix .. 'owned:' .. scheduler, id)
redis.call('HSET', task_key(id), 'owner', scheduler)
redis.call('ZADD', queue(record.node, 'lease'), now + lease_ms, id)
return { 'adopted', redis.call('HGETALL', task_key(id)), redis.call('GET', part(id, 'spec')),
  redis.call('GET', part(id, 'input')) or '', redis.call('GET', part(id, 'checkpoint')) or '', whole(now - tonumber(contact)) }
