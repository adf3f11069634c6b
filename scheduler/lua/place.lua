-- Where a ready task stands in its node's queue, if users take turns as `next_head` has it and nothing new comes.
-- ARGV: prefix, id, most users to count, max running of a user (0: no limit).
-- Reply: position from 1 | 0 (unknown: its user is held at a limit, or too many users wait) | -1 (it is not ready)
local record = read(ARGV[2])
if not record or record.state ~= 'pending' then return -1 end
local mine = user_queue(record.node, record.user)
local rank = redis.call('ZRANK', mine, record.id)
if not rank then return -1 end
local ring = queue(record.node, 'users')
local turn = redis.call('ZSCORE', ring, record.user)
local max_user = tonumber(ARGV[4])
local function at_limit(user) return max_user > 0 and number(redis.call('HGET', user_key(user, 'count'), 'running')) >= max_user end
if not turn or at_limit(record.user) or redis.call('ZCARD', ring) > tonumber(ARGV[3]) then return 0 end
turn = tonumber(turn)
local head = redis.call('ZRANGE', mine, 0, 0, 'WITHSCORES')
local position = rank + 1
local others = redis.call('ZRANGE', ring, 0, -1, 'WITHSCORES')
for i = 1, #others, 2 do
  local other, its_turn = others[i], tonumber(others[i + 1])
  if other ~= record.user and not at_limit(other) then
    local before = its_turn < turn
    if its_turn == turn then
      local first = redis.call('ZRANGE', user_queue(record.node, other), 0, 0, 'WITHSCORES')
      before = #first > 0 and tonumber(first[2]) < tonumber(head[2])
    end
    position = position + math.min(redis.call('ZCARD', user_queue(record.node, other)), rank + (before and 1 or 0))
  end
end
return position
