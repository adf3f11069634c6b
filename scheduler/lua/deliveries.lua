-- Read the log of a callback and its state at one instant: two reads could show `sent` beside a log that does not hold the delivery yet.
-- ARGV: prefix, id.   Reply: state, time of the next delivery in ms ('' for none), deliveries ever made, then the deliveries that are kept
local id = ARGV[2]
local found = redis.call('HMGET', task_key(id), 'cb_state', 'cb_next', 'cb_made')
local reply = { found[1] or '', found[2] or '', found[3] or '' }
for _, delivery in ipairs(redis.call('LRANGE', part(id, 'deliveries'), 0, -1)) do
  reply[#reply + 1] = delivery
end
return reply
