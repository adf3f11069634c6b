-- Make an ended task's callback due now, with its retry schedule from the start and the same webhook-id. One that is under way is
-- not sent a second time beside itself: its end makes it due (outbox_settle), or the end of its hold does.
-- ARGV: prefix, id, '1' = leave one that is still due as it is.   Reply: 'due' | 'missing' | 'not ended' | 'no callback'
local id = ARGV[2]
local record = read(id)
if not record then return 'missing' end
if not TERMINAL[record.state] then return 'not ended' end
if record.callback == '' then return 'no callback' end
if ARGV[3] == '1' and record.cb_state == 'pending' then return 'due' end
local under_way = redis.call('HGET', task_key(id), 'cb_hold') and number(redis.call('ZSCORE', prefix .. 'outbox', id) or '') > now
if under_way then
  redis.call('HSET', task_key(id), 'cb_tries', 0, 'cb_again', '1')
  return 'due'
end
redis.call('HSET', task_key(id), 'cb_state', 'pending', 'cb_tries', 0, 'cb_next', whole(now))
redis.call('HDEL', task_key(id), 'cb_hold')
redis.call('ZADD', prefix .. 'outbox', now, id)
redis.call('PUBLISH', prefix .. 'wake', 'outbox')
return 'due'
