-- Put in front of every script. The words that all of them share: keys, time, the tripwire, and the moves of a request between
-- its states W (waits), G (granted), X (revoked, in quarantine) and D (done).
--
-- KEYS are all keys of the installation's locks (gpulock/keys.py says what each is for); they share one hash slot.
-- ARGV: 1 names of the pools, joined by commas, in the order of their keys; 2 the calling replica; 3 the highest token it has
-- seen; 4 a test's clock in µs, else empty; 5 the highest epoch it has seen; 6 `new` when an empty store means that nothing runs
-- yet; from 7 on, the script's own.
--
-- A hand-over of a device waits for one script, so a script asks and writes as little as it can: what belongs together is one
-- field, is read once, and is written once, at the end, if it has changed (`finish`). That also makes a script whole or nothing
-- where Redis refuses its first write.
--
-- Numbers go to Redis and to the caller as they are, and arrive whole. Those that leave through `..` or JSON go through whole():
-- Lua would print 16 digits as 1.7e+15.

local META, REQ, DL, GONE, YIELD, EV, INBOX, HIST, STAT, REPLICAS = unpack(KEYS, 1, 10)
local me, known_token, known_epoch = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[5])

local SCAN = 256 -- waiters that one turn looks at behind one that cannot be served
local EVENTS_KEPT, NOTICES_KEPT, HISTORY_SLACK = 10000, 10000, 64
local DONE_KEPT_US = 60 * 1000000
local NEVER = 9000000000000000
local NOBODY = string.rep('0', 40)

local function whole(number) return string.format('%.0f', number or 0) end
local function arg(index) return ARGV[6 + index] or '' end
local function number(index) return tonumber(ARGV[6 + index]) or 0 end

local fields = { 'state', 'settings', 'devices', 'taken', 'runid', 'replid' }
local pools, pool_names = {}, {}
do
  local at = 10
  for name in string.gmatch(ARGV[1], '[^,]+') do
    fields[#fields + 1] = 'bands:' .. name
    pools[name] = { name = name, queue = KEYS[at + 1], turns = KEYS[at + 2], bands_field = #fields }
    pool_names[#pool_names + 1] = name
    at = at + 2
  end
end
local found = redis.call('HMGET', META, unpack(fields))
local changed = {} -- fields of `meta` to write beside the state

-- Time: one logical clock for all, in µs. It follows Redis's wall clock, corrected by `off`, and never runs backwards between two
-- sweeps; only the sweep corrects it, because only a caller can tell a step of the clock from time that has passed.
local state = found[1] and cmsgpack.unpack(found[1]) or { now = 0, off = 0, tok = 0, seq = 0, phase = 'open', open_at = 0, epoch = 0, told = 0 }
local conf = found[2] and cmsgpack.unpack(found[2]) or nil
local raw
if ARGV[4] ~= '' then
  raw = tonumber(ARGV[4])
else
  local clock = redis.call('TIME')
  raw = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
end
local now = math.max(state.now, raw + state.off)
state.tok = math.max(state.tok, known_token)

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
local known_run_id, known_repl_id = found[5], found[6]
local repl_id = forty_letters('\nmaster_replid:')
if known_repl_id ~= repl_id or not string.find(info, '\nrole:master', 1, true) then
  local promoted = known_repl_id ~= repl_id and forty_letters('\nmaster_replid2:') ~= NOBODY
  info = redis.call('INFO', 'server')
  local run_id = forty_letters('\nrun_id:')
  local tripped
  if not known_run_id then
    tripped = 'empty'
  elseif known_run_id ~= run_id then
    tripped = 'restarted'
  elseif promoted then
    tripped = 'promoted' -- master_replid alone also changes when a first replica attaches
  end
  if tripped then
    changed.runid, changed.replid = run_id, repl_id
    state.epoch = math.max(state.epoch + 1, known_epoch + 1, math.floor(now / 1000))
    if tripped == 'empty' and known_epoch == 0 and ARGV[6] == 'new' then
      state.phase, state.open_at = 'open', 0
    else
      state.phase = 'recover'
      state.open_at = conf and now + conf.window_us or 0 -- 0: `configure` knows how long
      redis.call('HINCRBY', STAT, '|trips', 1)
      emit('recovering', nil, tripped)
    end
  elseif known_repl_id ~= repl_id then
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
