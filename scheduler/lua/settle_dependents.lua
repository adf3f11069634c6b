-- Tell some of the tasks that wait for an ended (or removed) one: unblock them, or fail them with it.
-- ARGV: prefix, id, limit, ttl ms, error, failed body.   Reply: {dependents left, {ids to settle in their turn}, {`node id` of those that failed}}
local id = ARGV[2]
local record = read(id)
if record and not TERMINAL[record.state] then
  redis.call('ZREM', prefix .. 'settle', id) -- it runs again; its next end settles
  return { 0, {}, {} }
end
local good = record and (record.state == 'completed' or record.state == 'skipped')
local further, failed = {}, {}
for _, waiting in ipairs(redis.call('SRANDMEMBER', part(id, 'dependents'), tonumber(ARGV[3]))) do
  redis.call('SREM', part(id, 'dependents'), waiting)
  local dependent = read(waiting)
  if dependent and dependent.state == 'blocked' and redis.call('SREM', part(waiting, 'wait'), id) == 1 then
    if not good then
      failed[#failed + 1] = dependent.node .. ' ' .. waiting
      local fields = { 'duration', '0', 'error', ARGV[5] }
      if close(dependent, 'failed', tonumber(ARGV[4]), dependent.attempt, ARGV[6], '0', fields) == 1 then
        further[#further + 1] = waiting
      end
    elseif redis.call('SCARD', part(waiting, 'wait')) == 0 then
      redis.call('ZREM', queue(dependent.node, 'blocked'), waiting)
      redis.call('HSET', task_key(waiting), 'updated', whole(now))
      enqueue(dependent, number(dependent.not_before))
    end
  end
end
local left = redis.call('SCARD', part(id, 'dependents'))
if left == 0 then redis.call('ZREM', prefix .. 'settle', id) end
return { left, further, failed }
