-- Let an ended workflow go on: what failed or was cancelled runs again under its own id, behind what it depends on; what completed is
-- left as it is, but for the tasks that are named.
-- ARGV: prefix, id of its record, nonce, run_again body, ids of tasks that run again although they have completed, ...
-- Reply: {'running', {ids to settle}, number of tasks that run again} | {'wrong', state} | {'missing'} | {'gone', id of a task} |
--   {'nothing'} (all have completed and none is named) | {'deleted'} (it is being deleted)
local id = ARGV[2]
local workflow = read(id)
if not workflow then return { 'missing' } end
if workflow.nonce == ARGV[3] then return { 'running', {}, 0 } end
if not TERMINAL[workflow.state] then return { 'wrong', workflow.state } end
if redis.call('HGET', task_key(id), 'deleting') then return { 'deleted' } end
local named, again, records = {}, {}, {}
for place = 5, #ARGV do named[ARGV[place]] = true end
for _, member in ipairs(redis.call('LRANGE', part(id, 'members'), 0, -1)) do
  local record = read(member)
  named[member] = named[member] and 2 or nil
  if record and (named[member] or record.state == 'failed' or record.state == 'cancelled') then
    again[member] = true
    records[#records + 1] = record
  end
end
for member, seen in pairs(named) do
  if seen ~= 2 then return { 'gone', member } end
end
if #records == 0 then return { 'nothing' } end

redis.call('HSET', task_key(id), 'nonce', ARGV[3])
local settle = {}
for _, record in ipairs(records) do
  local waits = {}
  for dependency in string.gmatch(redis.call('HGET', task_key(record.id), 'deps') or '', '%S+') do
    local state = redis.call('HGET', task_key(dependency), 'state')
    if again[dependency] or (state ~= 'completed' and state ~= 'skipped') then waits[#waits + 1] = dependency end
    if not again[dependency] and (not state or GONE[state]) then
      settle[#settle + 1] = dependency
      redis.call('ZADD', prefix .. 'settle', now, dependency)
    end
  end
  run_again(record, ARGV[4], waits, now, 0, false)
end
return { 'running', settle, #records }
