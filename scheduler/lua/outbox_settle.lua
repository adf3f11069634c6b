-- Record one delivery and what follows from it. Only the holder may; a repetition finds the hold gone and changes nothing.
-- ARGV: prefix, id, token, state ('pending' = again later), delay ms, delivery ('' = not an attempt, only wait), kept deliveries.
-- Reply: 'settled' | 'stale'
local id = ARGV[2]
if redis.call('HGET', task_key(id), 'cb_hold') ~= ARGV[3] then return 'stale' end
redis.call('HDEL', task_key(id), 'cb_hold')
if ARGV[6] ~= '' then
  redis.call('RPUSH', part(id, 'deliveries'), ARGV[6])
  redis.call('LTRIM', part(id, 'deliveries'), -tonumber(ARGV[7]), -1)
  redis.call('HINCRBY', task_key(id), 'cb_tries', 1)
  redis.call('HINCRBY', task_key(id), 'cb_made', 1)
end
redis.call('HSET', task_key(id), 'cb_state', ARGV[4])
if ARGV[4] == 'pending' then
  local next_time = now + tonumber(ARGV[5])
  redis.call('ZADD', prefix .. 'outbox', next_time, id)
  redis.call('HSET', task_key(id), 'cb_next', whole(next_time))
else
  redis.call('ZREM', prefix .. 'outbox', id)
  redis.call('HDEL', task_key(id), 'cb_next')
end
return 'settled'
