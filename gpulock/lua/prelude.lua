-- What all scripts share: keys, time, the tripwire, and the moves of a request between its states W (waits), G (granted),
-- X (revoked, in quarantine) and D (done).
--
-- All files of this folder are one library of functions in Redis (gpulock/library.py), which is read once and not at each call:
-- the preludes, then each other file as the body of the script that has its name. What a call may not find of the one before it is set in
-- `at_begin`.
--
-- KEYS are all keys of the installation's locks (gpulock/store/keys.py says what each is for); they share one hash slot.
-- ARGV: 1 names of the pools, joined by commas, in the order of their keys; 2 the calling replica; 3 the highest token it has
-- seen; 4 a test's clock in µs, else empty; 5 the highest epoch it has seen; 6 `new` when an empty store means that nothing runs
-- yet; from 7 on, the script's own.
--
-- A hand-over of a device waits for one script, so a script asks and writes as little as it can: what belongs together is one
-- field, is read once, and is written once, at the end, if it has changed (`finish`). What seldom changes is unpacked again only
-- when its bytes are other ones (`remembering`).
--
-- Whole numbers go through whole() on their way to Redis or into a text: Lua would print 16 digits as 1.7e+15, and Redis spells them
-- out as fractions, which takes longer. What is returned to the caller arrives whole as it is.

local SCAN = 256 -- waiters that one turn looks at behind one that cannot be served; the sweep looks at all, now and then
local EVENTS_KEPT, NOTICES_KEPT, HISTORY_SLACK = '10000', '10000', 64
local INBOX_KEPT_SECONDS = '86400' -- of a dead replica: it may only be frozen
local DONE_KEPT_US = 60 * 1000000
local NEVER = 9000000000000000
local NOBODY = '0000000000000000000000000000000000000000'

local KEYS, ARGV
local beginnings = {}
local function at_begin(start) beginnings[#beginnings + 1] = start end

-- Unpack a field; what came of it is kept, and given again for the same bytes. Whoever gets it must not change it.
local function remembering(unpack_it)
  local bytes, value
  return function(given)
    if given ~= bytes then value, bytes = unpack_it(given), given end
    return value
  end
end

local META, REQ, DL, GONE, YIELD, EV, INBOX, HIST, STAT, REPLICAS
local me, known_token, known_epoch
local fields, found -- of `meta`: what is read of it, and what was there
local changed -- fields of `meta` to write beside the state
local pools, pool_names
local state, conf, raw, now

local function whole(number) return string.format('%d', number or 0) end
local function arg(index) return ARGV[6 + index] or '' end
local function number(index) return tonumber(ARGV[6 + index]) or 0 end

local function new_pool(name, queue, turns, bands_field)
  return { name = name, queue = queue, turns = turns, bands_field = bands_field, figures_field = bands_field + 1 }
end

local unpack_settings = remembering(function(packed) return packed and cmsgpack.unpack(packed) or nil end)

at_begin(function()
  META, REQ, DL, GONE, YIELD, EV, INBOX, HIST, STAT, REPLICAS = unpack(KEYS, 1, 10)
  me, known_token, known_epoch = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[5])
  fields, changed = { 'state', 'settings', 'devices', 'taken', 'runid', 'replid' }, {}
  pools, pool_names = {}, {}
  local at = 10
  for name in string.gmatch(ARGV[1], '[^,]+') do
    fields[#fields + 1] = 'bands:' .. name
    fields[#fields + 1] = 'figures:' .. name
    pools[name] = new_pool(name, KEYS[at + 1], KEYS[at + 2], #fields - 1)
    pool_names[#pool_names + 1] = name
    at = at + 2
  end
  found = redis.call('HMGET', META, unpack(fields))
end)

-- Read further fields of `meta`, which `finish` writes like the others; gives where the first of them stands in `found`.
local function read_more(...)
  local at, values = #fields, redis.call('HMGET', META, ...)
  for i, name in ipairs({ ... }) do fields[at + i], found[at + i] = name, values[i] end
  return at + 1
end

-- The same of a pool that this replica does not know, because its devices are gone or are not known here yet: what is left in it must
-- end all the same. Its keys are named as those of the others.
local strange
at_begin(function() strange = {} end)

local function pool_of(name)
  local pool = pools[name] or strange[name]
  if not pool then
    local prefix = string.sub(META, 1, -5)
    pool = new_pool(name, prefix .. 'q:' .. name, prefix .. 'turns:' .. name, read_more('bands:' .. name, 'figures:' .. name))
    strange[name] = pool
  end
  return pool
end

-- Time: one logical clock for all, in µs. It follows Redis's wall clock, corrected by `off`, and never runs backwards between two
-- sweeps; only the sweep corrects it, because only a caller can tell a step of the clock from time that has passed.
at_begin(function()
  state = found[1] and cmsgpack.unpack(found[1])
    or { now = 0, off = 0, tok = 0, seq = 0, phase = 'open', open_at = 0, epoch = 0, positions_us = 0 }
  conf = unpack_settings(found[2])
  if ARGV[4] ~= '' then
    raw = tonumber(ARGV[4])
  else
    local clock = redis.call('TIME')
    raw = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
  end
  now = math.max(state.now, raw + state.off)
  state.tok = math.max(state.tok, known_token)
end)

-- For watchers: kind, pool, request, task, devices, token, reason, client, time.
local function emit(kind, rec, reason, devices)
  rec = rec or {}
  if type(reason) == 'number' then reason = whole(reason) end
  redis.call('XADD', EV, 'MAXLEN', '~', EVENTS_KEPT, '*', 'm', cjson.encode({ kind, rec.pool or '', rec.id or '', rec.task or '',
    devices or '', whole(rec.tok), reason or '', rec.client or '', whole(now) }))
end

-- The tripwire: nothing is granted by a store that may have forgotten a grant before its holders had the time to say so.
-- A process that starts as a primary, or becomes one, takes a new replication id. So while a primary has the one on record it is
-- the process that has kept this record, and the costly half of INFO need not be asked.
local function forty_letters(info, field) -- a plain search: a pattern over all of INFO costs more than INFO itself
  local _, last = string.find(info, field, 1, true)
  return last and string.sub(info, last + 1, last + 40) or ''
end

at_begin(function()
  local info = redis.call('INFO', 'replication')
  local known_run_id, known_repl_id = found[5], found[6]
  local repl_id = forty_letters(info, '\nmaster_replid:')
  -- A caller that has seen a later epoch was served by another primary since: this one was frozen or cut off, and is to be none.
  local outdated = known_epoch > state.epoch
  if outdated or known_repl_id ~= repl_id or not string.find(info, '\nrole:master', 1, true) then
    local promoted = known_repl_id ~= repl_id and forty_letters(info, '\nmaster_replid2:') ~= NOBODY
    info = redis.call('INFO', 'server')
    local run_id = forty_letters(info, '\nrun_id:')
    local tripped
    if not known_run_id then
      tripped = 'empty'
    elseif known_run_id ~= run_id then
      tripped = 'restarted'
    elseif promoted then
      tripped = 'promoted' -- master_replid alone also changes when a first replica attaches
    elseif outdated then
      tripped = 'outdated'
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
end)
