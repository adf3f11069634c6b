-- Accepting tasks: what each needs of others, and the one place where a new task is written.

-- What a task must wait for. `coming`: ids of tasks that are stored in the same step, or nil.
-- Returns {waits, ended (of them those that have ended badly), all (ids that it depends on in any way), bindings}; or nil and a refusal:
-- {'no_dependency', place in depends_on} | {'unbound', place in sources}.
local function needs(given, coming)
  local depends, all, seen = {}, {}, {}
  for dependency in string.gmatch(given.depends_on, '%S+') do
    if not (coming and coming[dependency]) and redis.call('HGET', task_key(dependency), 'user') ~= given.user then
      return nil, { 'no_dependency', tostring(#depends) }
    end
    depends[#depends + 1] = dependency
  end
  local bindings, bound = bind(given.sources, given.id, given.user, given.workflow, depends, coming)
  if not bindings then return nil, { 'unbound', tostring(bound) } end
  for _, list in ipairs({ depends, bound }) do
    for _, dependency in ipairs(list) do
      if not seen[dependency] then
        seen[dependency] = true
        all[#all + 1] = dependency
      end
    end
  end
  local waits, ended = {}, {}
  for _, dependency in ipairs(all) do
    local state = coming and coming[dependency] and 'pending' or redis.call('HGET', task_key(dependency), 'state')
    if state ~= 'completed' and state ~= 'skipped' then
      waits[#waits + 1] = dependency
      if TERMINAL[state] then ended[#ended + 1] = dependency end
    end
  end
  return { waits = waits, ended = ended, all = all, bindings = bindings }
end

-- Those that have ended badly must be settled, so that the task hears of it.
local function settle_ended(needed)
  for _, dependency in ipairs(needed.ended) do redis.call('ZADD', prefix .. 'settle', now, dependency) end
end

local function not_before_of(given)
  local not_before = tonumber(given.not_before)
  return string.sub(given.not_before, 1, 1) == '+' and now + not_before or not_before
end

-- Keep what a task takes from others, for its claims, and what it depends on, for when it runs again.
local function keep_bindings(id, needed)
  redis.call('HSET', task_key(id), 'deps', table.concat(needed.all, ' '))
  if needed.bindings ~= '' then
    redis.call('HSET', task_key(id), 'refs', needed.bindings)
  else
    redis.call('HDEL', task_key(id), 'refs')
  end
end

-- Write a new task that was accepted at `created` (µs), index it, and put it where it waits; `fields`: what its record begins with.
-- Returns of its record what placing a task asks for.
local function store(given, fields, needed, created, quiet)
  local id, user = given.id, given.user
  local record = { id = id, user = user, start_deadline = given.start_deadline, wf = '',
    qscore = whole((100 - tonumber(given.priority)) * 1e13 + now) }
  for i = 1, #fields, 2 do record[fields[i]] = fields[i + 1] end
  redis.call('SET', part(id, 'spec'), given.spec)
  -- Its state and time come with its place.
  redis.call('HSET', task_key(id), 'sha', given.sha, 'nonce', given.nonce, 'created', whole(created), 'updated', whole(now),
    'qscore', record.qscore, 'start_deadline', given.start_deadline, 'attempt', 0, 'tries', 0, 'lost', 0, 'first_seq', 1, unpack(fields))
  if #needed.all > 0 then keep_bindings(id, needed) end
  redis.call('ZADD', prefix .. 'tasks', created, id)
  redis.call('ZADD', user_key(user, 'tasks'), created, id)
  redis.call('ZADD', prefix .. 'workflow:' .. record.workflow, created, id)
  redis.call('SADD', prefix .. 'nodes', record.node)
  count(user, 1, 0)
  emit(record, 0, #needed.waits > 0 and given.accepted_blocked or given.accepted)
  place(record, needed.waits, not_before_of(given), quiet)
  return record
end

-- Whether `more` waiting tasks would be too many: 'user_full', 'all_full' or nil.
local function over_limit(given, more)
  local max_user, max_all = tonumber(given.max_queued_of_user), tonumber(given.max_queued)
  if max_user > 0 and number(redis.call('HGET', user_key(given.user, 'count'), 'queued')) + more > max_user then return 'user_full' end
  if max_all > 0 and number(redis.call('HGET', prefix .. 'totals', 'queued')) + more > max_all then return 'all_full' end
end

-- The task that is there under an id; an ended one whose time has come is removed first.
local function present(id)
  local record = read(id)
  if record and TERMINAL[record.state] then
    local expire = redis.call('HGET', task_key(id), 'expire')
    if expire and tonumber(expire) <= now then
      erase(record)
      return nil
    end
  end
  return record
end
