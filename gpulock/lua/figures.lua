-- All figures: `<pool>|<figure>`, or `|<figure>` of the installation, and its value, one after the other.
local list = redis.call('HGETALL', STAT)
for _, pool_name in ipairs(pool_names) do
  for figure, value in pairs(figures_of(pool_name)) do
    list[#list + 1], list[#list + 2] = pool_name .. '|' .. figure, type(value) == 'number' and whole(value) or value
  end
end
return finish(list)
