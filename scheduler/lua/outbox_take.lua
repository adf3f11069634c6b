-- Hold some due callbacks for one delivery each. A holder that dies leaves them to the next when the hold has run out.
-- ARGV: prefix, limit, hold ms, token.
-- Reply: {ms until the next is due (-1: none), {id, round, tries, url, ms overdue, ...}}
local taken = {}
local entries = redis.call('ZRANGEBYSCORE', prefix .. 'outbox', '-inf', whole(now), 'WITHSCORES', 'LIMIT', 0, tonumber(ARGV[2]))
for i = 1, #entries, 2 do
  local id = entries[i]
  local values = redis.call('HMGET', task_key(id), 'callback', 'cb_round', 'cb_tries', 'state')
  if values[1] and values[4] and TERMINAL[values[4]] then
    redis.call('ZADD', prefix .. 'outbox', now + tonumber(ARGV[3]), id)
    redis.call('HSET', task_key(id), 'cb_hold', ARGV[4])
    redis.call('HDEL', task_key(id), 'cb_again')
    for _, value in ipairs({ id, values[2] or '1', values[3] or '0', values[1], whole(now - tonumber(entries[i + 1])) }) do
      taken[#taken + 1] = value
    end
  else
    redis.call('ZREM', prefix .. 'outbox', id)
  end
end
local head = redis.call('ZRANGE', prefix .. 'outbox', 0, 0, 'WITHSCORES')
local wait = -1
if #head > 0 then wait = math.max(0, math.floor(tonumber(head[2]) - now)) end
return { wait, taken }
