-- Third part of the prelude: records of requests, when time has something to do with them, and what is told of them.

local records -- those that this call has read or made, by id; false: there is none
local touched -- those to write at the end
local remembered -- ended waits and leases for the history: record, whether granted, reason
local soonest -- of the deadlines that this call sets; -1: none
local out -- what the calling replica must tell its clients
at_begin(function() records, touched, remembered, soonest, out = {}, {}, {}, -1, {} end)

local function unpacked(id, packed)
  local rec = records[id]
  if rec == nil then
    rec = packed and cmsgpack.unpack(packed) or false
    records[id] = rec
  end
  return rec or nil
end

local function load(id)
  if records[id] ~= nil then return records[id] or nil end
  return unpacked(id, redis.call('HGET', REQ, id))
end

local function load_all()
  local all, list = redis.call('HGETALL', REQ), {}
  for i = 1, #all, 2 do list[#list + 1] = unpacked(all[i], all[i + 1]) end
  return list
end

-- Every lease, revoked ones too.
local function all_leases()
  local list = {}
  for _, member in ipairs(redis.call('ZRANGE', DL, 0, -1)) do
    local rec = string.sub(member, 1, 1) == 'l' and load(string.sub(member, 2))
    if rec then list[#list + 1] = rec end
  end
  return list
end

local function save(rec) records[rec.id], touched[rec.id] = rec, rec end

-- Every instant at which time has something to do with a request: when and what, one after the other.
local function deadlines(rec)
  local list = {}
  local function at(instant, what) list[#list + 1], list[#list + 2] = instant, what end
  if rec.st == 'W' then
    if rec.wait > 0 then at(rec.enq + rec.wait, 'wait') end
    if rec.det then at(rec.det + conf.grace_us, 'away') end
  elseif rec.st == 'G' then
    at(rec.exp, 'expiry')
    if rec.stop and rec.stop ~= 'soft_timeout' and rec.stopat > 0 then at(rec.stopat, 'stop') end
    if conf.graded and not rec.parked then
      if not rec.warned then at(rec.ga + conf.warn_us, 'warning') end
      if not rec.stop then at(rec.ga + conf.soft_us, 'soft') end
      at(rec.ga + conf.hard_us, 'hard')
    end
  elseif rec.st == 'X' then
    at((conf.auto_recovery or rec.lapses) and rec.free_at or NEVER, 'lapse')
  end
  return list
end

local function remember(rec, success, reason) remembered[#remembered + 1] = { rec, success, reason } end

-- A command with a list of any length after its key: Lua can spell out only so much of it at once. Gives its last answer.
local function in_parts(command, key, list)
  local answer
  for i = 1, #list, 2000 do answer = redis.call(command, key, unpack(list, i, math.min(i + 1999, #list))) end
  return answer
end

-- Write what has changed since the last time, and put each record where the sweep looks for it: once, by the first of its deadlines.
local function write_records()
  local written, packed, due, gone = {}, {}, {}, {}
  for id, rec in pairs(touched) do
    local list, member, first = deadlines(rec), nil, nil
    for i = 1, #list, 2 do first = math.min(first or list[i], list[i]) end
    if first then member = (rec.st == 'W' and 'w' or 'l') .. id end
    if rec.dl and rec.dl ~= member then gone[#gone + 1] = rec.dl end
    if first and (rec.dl ~= member or rec.due ~= first) then
      due[#due + 1], due[#due + 2] = whole(first), member
      if soonest < 0 or first < soonest then soonest = first end
    end
    rec.dl, rec.due = member, first
    packed[id] = cmsgpack.pack(rec)
    written[#written + 1], written[#written + 2] = id, packed[id]
  end
  in_parts('HSET', REQ, written)
  in_parts('ZREM', DL, gone)
  in_parts('ZADD', DL, due)
  if #remembered > 0 then
    local entries = {}
    for i, entry in ipairs(remembered) do
      local rec, success, reason = unpack(entry)
      entries[i] = cmsgpack.pack({ success, reason, now }) .. (packed[rec.id] or cmsgpack.pack(rec))
    end
    local kept = in_parts('LPUSH', HIST, entries)
    -- Cut now and then: readers look at the first conf.history of it.
    if kept >= conf.history + HISTORY_SLACK then redis.call('LTRIM', HIST, 0, conf.history - 1) end
  end
  touched, remembered = {}, {}
end

local function device_list(rec)
  local parts = {}
  for _, device in ipairs(rec.devs or {}) do parts[#parts + 1] = device[1] .. ':' .. whole(device[2]) end
  return table.concat(parts, ',')
end

-- A record as gpulock/store/record.py reads it, in a fixed order.
local function export(rec)
  return { rec.id, rec.pool, rec.st, rec.dev, rec.mib, rec.n, rec.prio, rec.user, rec.task, rec.what, rec.client, rec.node,
    rec.host, rec.pre and '1' or '0', rec.enq, rec.tok or 0, device_list(rec), rec.ga or 0, rec.exp or 0, rec.beat or 0,
    rec.warm and '1' or '0', rec.model or '', rec.stop or '', rec.stopat or 0, rec.why or '', rec.replica or '', rec.detail or '',
    rec.parked and '1' or '0' }
end

-- What a holder hears of its lease, for the same reader: short, because somebody waits for it.
local function export_lease(rec)
  return { rec.id, rec.pool, rec.client, rec.enq, rec.tok, device_list(rec), rec.ga, rec.exp, rec.warm and '1' or '0' }
end

-- A list of fields for JSON, whose numbers would lose digits.
local function spelled(list)
  for i, field in ipairs(list) do
    if type(field) == 'number' then list[i] = whole(field) end
  end
  return list
end

-- What one replica has to tell its clients, beside what all of them hear in INBOX. Only the one that is meant wakes up.
local function inbox_of(replica) return INBOX .. ':' .. replica end

-- Tell the client of a request; its replica may be another one, which reads its inbox.
local function push(kind, rec, extra)
  local shown = kind == 'granted' and export_lease(rec) or export(rec)
  if rec.replica == me then
    out[#out + 1] = { kind, shown, extra or '' }
  elseif (rec.replica or '') ~= '' then
    redis.call('XADD', inbox_of(rec.replica), 'MAXLEN', '~', NOTICES_KEPT, '*', 'm',
      cjson.encode({ kind, spelled(shown), type(extra) == 'number' and whole(extra) or extra or '', whole(now) }))
  end
end

-- Let the other replicas know that positions have changed; they look half a second later, so one notice covers what follows it.
local function queue_changed()
  if now - (state.positions_us or 0) >= 500000 and redis.call('ZCARD', REPLICAS) > 1 then
    state.positions_us = now
    redis.call('XADD', INBOX, 'MAXLEN', '~', NOTICES_KEPT, '*', 'm', '["queue"]')
  end
end
