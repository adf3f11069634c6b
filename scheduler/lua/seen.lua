-- Note which task types a scheduler sees offered now, let go of those that nobody has offered for long, and tell all.
-- A node that is configured may be away for as long as nobody needs it (scaled to zero): its types go when it has long been here
-- without them, not when it has long been away.
-- ARGV: prefix, forget after ms, configured nodes with commas between them, names...
-- Reply: {now ms, {name, ms when last seen, ...}, number forgotten}
local seen, types = prefix .. 'seen', prefix .. 'types'
for i = 4, #ARGV do redis.call('HSET', seen, ARGV[i], whole(now)) end
local all, kept, forgotten = redis.call('HGETALL', seen), {}, 0
local here, latest = {}, {}
for node in string.gmatch(ARGV[3], '[^,]+') do here[node] = true end
for i = 1, #all, 2 do
  local node = string.match(all[i], '^[^.]*')
  if here[node] then latest[node] = math.max(latest[node] or 0, tonumber(all[i + 1])) end
end
for i = 1, #all, 2 do
  local reference = latest[string.match(all[i], '^[^.]*')] or now
  if tonumber(all[i + 1]) <= reference - tonumber(ARGV[2]) then
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
