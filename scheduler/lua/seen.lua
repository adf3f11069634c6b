-- Note which task types a scheduler sees offered now, let go of those that nobody has offered for long, and tell all.
-- ARGV: prefix, forget after ms, names...
-- Reply: {now ms, {name, ms when last seen, ...}, number forgotten}
local seen, types = prefix .. 'seen', prefix .. 'types'
for i = 3, #ARGV do redis.call('HSET', seen, ARGV[i], whole(now)) end
local all, kept, forgotten = redis.call('HGETALL', seen), {}, 0
for i = 1, #all, 2 do
  if tonumber(all[i + 1]) <= now - tonumber(ARGV[2]) then
    redis.call('HDEL', seen, all[i])
    redis.call('HDEL', types, all[i])
    forgotten = forgotten + 1
  else
    kept[#kept + 1] = all[i]
    kept[#kept + 1] = all[i + 1]
  end
end
if forgotten > 0 then redis.call('PUBLISH', prefix .. 'wake', 'types') end
return { whole(now), kept, forgotten }
