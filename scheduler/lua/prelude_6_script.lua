-- The beginning of every call. What follows are the scripts, each the body of a function.
local function script(name, body)
  redis.register_function(NAMES .. name, function(_, argv)
    local clock = redis.call('TIME')
    ARGV, prefix = argv, argv[1]
    now_us = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
    now = math.floor(now_us / 1000)
    return body()
  end)
end
