-- Let go of held callbacks whose host is not to be called now: each is due again after a delay, nothing was tried.
-- ARGV: prefix, token, then id, delay ms, ...   Reply: how many
local done = 0
for i = 3, #ARGV, 2 do
  local id = ARGV[i]
  if redis.call('HGET', task_key(id), 'cb_hold') == ARGV[2] then
    local next_time = now + tonumber(ARGV[i + 1])
    if redis.call('HGET', task_key(id), 'cb_again') == '1' then next_time = now end
    redis.call('HDEL', task_key(id), 'cb_hold', 'cb_again')
    redis.call('ZADD', prefix .. 'outbox', next_time, id)
    redis.call('HSET', task_key(id), 'cb_next', whole(next_time))
    done = done + 1
  end
end
return done
