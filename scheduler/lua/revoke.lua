-- Note that an API key no longer counts, once; entries of keys that have expired by themselves go.
-- ARGV: prefix, key's hash, ms when the key expires (0: never), most entries, serialised RevokedKey without its time.
-- Reply: `<ms when it was revoked> <serialised RevokedKey>` | 'full'
local revoked, expiring = prefix .. 'revoked', prefix .. 'revoked_until'
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', expiring, '-inf', whole(now))) do
  redis.call('HDEL', revoked, gone)
  redis.call('ZREM', expiring, gone)
end
local known = redis.call('HGET', revoked, ARGV[2])
if known then return known end
if redis.call('HLEN', revoked) >= tonumber(ARGV[4]) then return 'full' end
local entry = whole(now) .. ' ' .. ARGV[5]
redis.call('HSET', revoked, ARGV[2], entry)
if tonumber(ARGV[3]) > 0 then redis.call('ZADD', expiring, ARGV[3], ARGV[2]) end
return entry
