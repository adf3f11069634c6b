-- Binding an input's sources to tasks: which task's output a reference, or a field that was left out, stands for.

local GONE = { failed = true, cancelled = true }

-- Of the tasks `ids`, newest first, the first of a type and a user that has not failed; else the first at all; nil: there is none.
local function newest_of(ids, stage, user, self)
  local failed = nil
  for _, id in ipairs(ids) do
    local values = redis.call('HMGET', task_key(id), 'name', 'state', 'user')
    if id ~= self and values[1] == stage and values[3] == user then
      if not GONE[values[2]] then return id end
      failed = failed or id
    end
  end
  return failed
end

-- Those tasks of a list that exist and are the user's, newest first.
local function newest_first(ids, user)
  local found, created = {}, {}
  for _, id in ipairs(ids) do
    local values = redis.call('HMGET', task_key(id), 'created', 'user')
    if values[1] and values[2] == user then
      found[#found + 1] = id
      created[id] = tonumber(values[1])
    end
  end
  table.sort(found, function(a, b) return created[a] > created[b] end)
  return found
end

-- Bind sources, JSON of a list of {at, wants = {{kind, name, path}, ...}, fill, required}.
-- `coming`: ids of tasks that are stored in the same step, or nil. Of a stage the tasks that are named (in depends_on, or by their ids) go first, then those of the workflow.
-- Returns the bindings (JSON of a list of {at, fill, required, from = {{id, path}, ...}}; '' when there are none) and the ids that must
-- be waited for; or nil and the place in the list, from 0, of a source that nobody gives.
local function bind(sources, id, user, workflow, depends, coming)
  if sources == '' then return '', {} end
  local asked, named = cjson.decode(sources), {}
  for _, dependency in ipairs(depends) do named[#named + 1] = dependency end
  for _, source in ipairs(asked) do
    if source.wants[1][1] == 'tasks' then named[#named + 1] = source.wants[1][2] end
  end
  named = newest_first(named, user)
  local members = nil
  local bindings, waits = {}, {}
  for place, source in ipairs(asked) do
    local from = {}
    for _, want in ipairs(source.wants) do
      local kind, name, found = want[1], want[2], nil
      if kind == 'tasks' then
        if (coming and coming[name]) or redis.call('HGET', task_key(name), 'user') == user then found = name end
      else
        found = newest_of(named, name, user, id)
        if not found then
          members = members or redis.call('ZREVRANGE', prefix .. 'workflow:' .. workflow, 0, 499)
          found = newest_of(members, name, user, id)
        end
      end
      if found then from[#from + 1] = { found, want[3] } end
    end
    if #from > 0 then
      bindings[#bindings + 1] = { at = source.at, fill = source.fill, required = source.required, from = from }
      waits[#waits + 1] = from[1][1]
    elseif source.required then
      return nil, place - 1
    end
  end
  return #bindings > 0 and cjson.encode(bindings) or '', waits
end
