-- Put in front of every script. The words that all of them share: keys, time, the tripwire, and the moves of a request between
-- its states W (waits), G (granted), X (revoked, in quarantine) and D (done).
--
-- KEYS are all keys of the installation's locks (gpulock/keys.py says what each is for); they share one hash slot.
-- ARGV: 1 names of the pools, joined by commas, in the order of their keys; 2 the calling replica; 3 the highest token it has
-- seen; 4 a test's clock in µs, else empty; 5 the highest epoch it has seen; 6 `new` when an empty store means that nothing runs
-- yet; from 7 on, the script's own.
--
-- Numbers go to Redis and to the caller as they are, and arrive whole. Those that leave through `..` or JSON go through whole():
-- Lua would print 16 digits as 1.7e+15.

local META, DEV, USED, QUAR, REQ, DL, GONE, YIELD, EV, INBOX, HIST, STAT, REPLICAS = unpack(KEYS, 1, 13)
local me, known_token, known_epoch = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[5])

local SCAN = 256 -- waiters that one turn looks at behind one that cannot be served
local EVENTS_KEPT, NOTICES_KEPT, HISTORY_SLACK = 10000, 10000, 64
local DONE_KEPT_US = 60 * 1000000
local NEVER = 9000000000000000
local NOBODY = string.rep('0', 40)

local function whole(number) return string.format('%.0f', number or 0) end
local function arg(index) return ARGV[6 + index] or '' end
local function number(index) return tonumber(ARGV[6 + index]) or 0 end

local pools, pool_names = {}, {}
do
  local at = 13
  for name in string.gmatch(ARGV[1], '[^,]+') do
    pools[name] = { name = name, queue = KEYS[at + 1], bands = KEYS[at + 2], turns = KEYS[at + 3] }
    pool_names[#pool_names + 1] = name
    at = at + 3
  end
end

-- Time: one logical clock for all, in µs. It follows Redis's wall clock, corrected by `off`, and never runs backwards between two
-- sweeps; only the sweep corrects it, because only a caller can tell a step of the clock from time that has passed.
local found = redis.call('HMGET', META, 'now', 'off', 'tok', 'seq', 'phase', 'until', 'epoch', 'runid', 'replid', 'settings',
  'told', 'devices')
local off, token, sequence = tonumber(found[2]) or 0, tonumber(found[3]) or 0, tonumber(found[4]) or 0
local phase, open_at, epoch = found[5] or 'open', tonumber(found[6]) or 0, tonumber(found[7]) or 0
local conf = found[10] and cmsgpack.unpack(found[10]) or nil
local told = tonumber(found[11]) or 0
local known_devices = found[12]
local changed = {} -- fields of `meta` to write beside the time
local raw
if ARGV[4] ~= '' then
  raw = tonumber(ARGV[4])
else
  local clock = redis.call('TIME')
  raw = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
end
local now = math.max(tonumber(found[1]) or 0, raw + off)
token = math.max(token, known_token)

local out = {} -- what the calling replica must tell its clients

local function emit(kind, rec, reason, devices)
  rec = rec or {}
  redis.call('XADD', EV, 'MAXLEN', '~', EVENTS_KEPT, '*', 't', kind, 'p', rec.pool or '', 'r', rec.id or '', 'k', rec.task or '',
    'd', devices or '', 'n', rec.tok or 0, 'w', reason or '', 'c', rec.client or '', 'at', now)
end

-- The tripwire: nothing is granted by a store that may have forgotten a grant before its holders had the time to say so.
-- A process that starts as a primary, or becomes one, takes a new replication id. So while a primary has the one on record it is
-- the process that has kept this record, and the costly half of INFO need not be asked.
local info = redis.call('INFO', 'replication')
local function forty_letters(field) -- a plain search: a pattern over all of INFO costs more than INFO itself
  local _, last = string.find(info, field, 1, true)
  return last and string.sub(info, last + 1, last + 40) or ''
end
local repl_id = forty_letters('\nmaster_replid:')
if found[9] ~= repl_id or not string.find(info, '\nrole:master', 1, true) then
  local promoted = found[9] ~= repl_id and forty_letters('\nmaster_replid2:') ~= NOBODY
  info = redis.call('INFO', 'server')
  local run_id = forty_letters('\nrun_id:')
  local tripped
  if not found[8] then
    tripped = 'empty'
  elseif found[8] ~= run_id then
    tripped = 'restarted'
  elseif promoted then
    tripped = 'promoted' -- master_replid alone also changes when a first replica attaches
  end
  if tripped then
    changed.runid, changed.replid = run_id, repl_id
    epoch = math.max(epoch + 1, known_epoch + 1, math.floor(now / 1000))
    if tripped == 'empty' and known_epoch == 0 and ARGV[6] == 'new' then
      phase, open_at = 'open', 0
    else
      phase = 'recover'
      open_at = conf and now + conf.window_us or 0 -- 0: `configure` knows how long
      redis.call('HINCRBY', STAT, '|trips', 1)
      emit('recovering', nil, tripped)
    end
  elseif found[9] ~= repl_id then
    changed.replid = repl_id
  end
end

-- Figures of the pools: what a script counts is written once, at its end.
local counted, outcomes, latest = {}, {}, {}

local function incr(pool, field, by)
  local name = pool .. '|' .. field
  counted[name] = (counted[name] or 0) + (by or 1)
end

local function count_outcome(pool, letter) outcomes[pool .. '|recent'] = (outcomes[pool .. '|recent'] or '') .. letter end

local function write_figures()
  local names, written = {}, {}
  for name in pairs(counted) do names[#names + 1] = name end
  local sums = #names
  for name in pairs(outcomes) do names[#names + 1] = name end
  if #names > 0 then
    for i, before in ipairs(redis.call('HMGET', STAT, unpack(names))) do
      local name = names[i]
      written[#written + 1] = name
      if i <= sums then
        written[#written + 1] = (tonumber(before) or 0) + counted[name]
      else
        written[#written + 1] = string.sub((before or '') .. outcomes[name], -conf.recent)
      end
    end
  end
  for name, value in pairs(latest) do
    written[#written + 1] = name
    written[#written + 1] = value
  end
  if #written > 0 then redis.call('HSET', STAT, unpack(written)) end
end

-- What is taken of the devices, in use (USED) and in quarantine (QUAR): read once, written once, at the end. Of a device that goes from
-- one holder to the next nothing is written.
local shares = {}
local function share_of(key)
  local share = shares[key]
  if not share then
    share = { before = {}, now = {} }
    local flat = redis.call('HGETALL', key) -- names only devices of which something is taken
    for i = 1, #flat, 2 do
      share.before[flat[i]] = tonumber(flat[i + 1])
      share.now[flat[i]] = share.before[flat[i]]
    end
    shares[key] = share
  end
  return share
end

local function write_shares()
  for key, share in pairs(shares) do
    for name, mib in pairs(share.now) do
      if mib ~= share.before[name] then
        if mib == 0 then redis.call('HDEL', key, name) else redis.call('HSET', key, name, mib) end
      end
    end
  end
end

local function load(id)
  local packed = redis.call('HGET', REQ, id)
  return packed and cmsgpack.unpack(packed) or nil
end

local function save(rec) redis.call('HSET', REQ, rec.id, cmsgpack.pack(rec)) end

local function device_list(rec)
  local parts = {}
  for _, device in ipairs(rec.devs or {}) do parts[#parts + 1] = device[1] .. ':' .. whole(device[2]) end
  return table.concat(parts, ',')
end

-- A record as gpulock/record.py reads it, in a fixed order.
local function export(rec)
  return { rec.id, rec.pool, rec.st, rec.dev, rec.mib, rec.n, rec.prio, rec.user, rec.task, rec.what, rec.client, rec.node,
    rec.host, rec.pre and '1' or '0', rec.enq, rec.tok or 0, device_list(rec), rec.ga or 0, rec.exp or 0, rec.beat or 0,
    rec.warm and '1' or '0', rec.model or '', rec.stop or '', rec.stopat or 0, rec.why or '', rec.replica or '', rec.detail or '',
    rec.parked and '1' or '0' }
end

-- The same for JSON, whose numbers would lose digits.
local function spelled(rec)
  local fields = export(rec)
  for i, field in ipairs(fields) do
    if type(field) == 'number' then fields[i] = whole(field) end
  end
  return fields
end

-- Tell the client of a request; its replica may be another one, which reads its inbox.
local function tell(kind, rec, extra)
  if rec.replica == me then
    out[#out + 1] = { kind, export(rec), extra or '' }
  elseif (rec.replica or '') ~= '' then
    redis.call('XADD', INBOX, 'MAXLEN', '~', NOTICES_KEPT, '*', 'to', rec.replica, 'm',
      cjson.encode({ kind, spelled(rec), type(extra) == 'number' and whole(extra) or extra or '', whole(now) }))
  end
end

-- Let the other replicas know that positions have changed; they look half a second later, so one notice covers what follows it.
local function queue_changed()
  if now - told >= 500000 and redis.call('ZCARD', REPLICAS) > 1 then
    told = now
    redis.call('XADD', INBOX, 'MAXLEN', '~', NOTICES_KEPT, '*', 'to', '*', 'm', '["queue"]')
  end
end

local function due(letter, id, at) redis.call('ZADD', DL, at, letter .. id) end
local function not_due(id, letters)
  local members = {}
  for i = 1, #letters do members[i] = string.sub(letters, i, i) .. id end
  redis.call('ZREM', DL, unpack(members))
end

local function finish(...)
  local fields = { 'now', now }
  local function keep(name, value, before)
    if value ~= before then
      fields[#fields + 1] = name
      fields[#fields + 1] = value
    end
  end
  keep('off', off, tonumber(found[2]))
  keep('tok', token, tonumber(found[3]))
  keep('seq', sequence, tonumber(found[4]))
  keep('phase', phase, found[5])
  keep('until', open_at, tonumber(found[6]))
  keep('epoch', epoch, tonumber(found[7]))
  keep('told', told, tonumber(found[11]))
  for name, value in pairs(changed) do keep(name, value) end
  redis.call('HSET', META, unpack(fields))
  write_shares()
  write_figures()
  local first = redis.call('ZRANGE', DL, 0, 0, 'WITHSCORES')
  local due_at = first[2] and tonumber(first[2]) or -1
  if phase == 'recover' and open_at > 0 then due_at = open_at end -- until then the sweep takes nothing away
  return { now, epoch, phase, token, due_at, { ... }, out, open_at }
end

-- History. The list is cut now and then: readers look at the first conf.history of it.
local function remember(rec, success, reason)
  local kept = redis.call('LPUSH', HIST, cjson.encode({ spelled(rec), success and '1' or '0', reason, whole(now) }))
  if kept >= conf.history + HISTORY_SLACK then redis.call('LTRIM', HIST, 0, conf.history - 1) end
end
