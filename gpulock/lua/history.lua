-- Ended waits and leases, newest first. Arguments: pool (empty: all), how many at most. Gives, for each, its record, whether it was
-- granted, the reason of its end, and when that was in µs.
local wanted, limit, list = arg(1), number(2), {}
for _, entry in ipairs(redis.call('LRANGE', HIST, 0, wanted == '' and limit - 1 or -1)) do
  local ended, rec = cmsgpack.unpack(entry)
  if #list < limit and (wanted == '' or rec.pool == wanted) then
    list[#list + 1] = { export(rec), ended[1] and '1' or '0', ended[2], ended[3] }
  end
end
return finish(list)
