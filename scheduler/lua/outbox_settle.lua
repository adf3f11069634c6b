-- Record one delivery and what follows from it. Only the holder may; a repetition finds the hold gone and changes nothing.
-- ARGV: prefix, id, token, state ('pending' = again later), delay ms, delivery, kept deliveries.
-- Reply: 'settled' | 'stale'
local id, state, delay = ARGV[2], ARGV[4], tonumber(ARGV[5])
if redis.call('HGET', task_key(id), 'cb_hold') ~= ARGV[3] then return 'stale' end
local again = redis.call('HGET', task_key(id), 'cb_again') == '1'
redis.call('HDEL', task_key(id), 'cb_hold', 'cb_again')
redis.call('RPUSH', part(id, 'deliveries'), ARGV[6])
redis.call('LTRIM', part(id, 'deliveries'), -tonumber(ARGV[7]), -1)
redis.call('HINCRBY', task_key(id), 'cb_tries', 1)
redis.call('HINCRBY', task_key(id), 'cb_made', 1)
if again and state ~= 'sent' then -- somebody asked for it by hand while it was under way
  state, delay = 'pending', 0
  redis.call('HSET', task_key(id), 'cb_tries', 0)
end
redis.call('HSET', task_key(id), 'cb_state', state)
if state == 'pending' then
  local next_time = now + delay
  redis.call('ZADD', prefix .. 'outbox', next_time, id)
  redis.call('HSET', task_key(id), 'cb_next', whole(next_time))
else
  redis.call('ZREM', prefix .. 'outbox', id)
  redis.call('HDEL', task_key(id), 'cb_next')
end
return 'settled'
