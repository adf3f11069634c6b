-- Accept a workflow: all of its tasks, or none; or say which workflow is there already, or what of it is refused.
-- Names: id (of its record), sha, nonce, user, spec, callback, ttl (ms that it is kept after its end), max_queued_of_user, max_queued;
--   then for each task the name `task`, whose value is its place from 0, and what submit.lua has of it: id, sha, nonce, user, workflow,
--   spec, depends_on, sources, priority, not_before, start_deadline, accepted, accepted_blocked, and `record` with its fields.
-- Reply: {'created' | 'existing', state, created_us, {ids to settle}} | {'conflict'} | {'user_full'} | {'all_full'} |
--   {'task_exists', place of the task} | {'no_dependency' | 'unbound', place of the task, place in depends_on or sources}.
local given, tasks = named_sections()
local record = present(given.id)
if record then
  if redis.call('HGET', task_key(given.id), 'sha') ~= given.sha then return { 'conflict' } end
  return { record.nonce == given.nonce and 'created' or 'existing', record.state, record.created, {} }
end
local refused = over_limit(given, #tasks)
if refused then return { refused } end

local coming = {}
for _, task in ipairs(tasks) do
  if present(task.given.id) then return { 'task_exists', task.given.task } end
  coming[task.given.id] = true
end
local settle = {}
for _, task in ipairs(tasks) do
  local refusal
  task.needed, refusal = needs(task.given, coming)
  if not task.needed then return { refusal[1], task.given.task, refusal[2] } end
  for _, ended in ipairs(task.needed.ended) do settle[#settle + 1] = ended end
end

redis.call('SET', part(given.id, 'spec'), given.spec)
redis.call('HSET', task_key(given.id), 'state', 'running', 'sha', given.sha, 'nonce', given.nonce, 'user', given.user, 'node', '',
  'created', whole(now_us), 'updated', whole(now), 'first_seq', 1, 'callback', given.callback, 'ttl', given.ttl)
redis.call('ZADD', prefix .. 'workflows', now_us, given.id)
redis.call('ZADD', user_key(given.user, 'workflows'), now_us, given.id)
for _, task in ipairs(tasks) do
  redis.call('RPUSH', part(given.id, 'members'), task.given.id)
  redis.call('SADD', part(given.id, 'open'), task.given.id)
end
emit_of_workflow(given.id, 'accepted', tostring(#tasks))
for place, task in ipairs(tasks) do
  settle_ended(task.needed)
  store(task.given, task.fields, task.needed, now_us + place - 1, false)
end
return { 'created', 'running', whole(now_us), settle }
