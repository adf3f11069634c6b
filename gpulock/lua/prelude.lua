-- Put in front of every script. The words that all of them share: keys, time, the tripwire, and the moves of a request between
-- its states W (waits), G (granted), X (revoked, in quarantine) and D (done).
--
-- KEYS are all keys of the installation's locks (gpulock/keys.py says what each is for); they share one hash slot.
-- ARGV: 1 names of the pools, joined by commas, in the order of their keys; 2 the calling replica; 3 the highest token it has
-- seen; 4 a test's clock in µs, else empty; 5 the highest epoch it has seen; 6 `new` when an empty store means that nothing runs
-- yet; from 7 on, the script's own.
--
-- Numbers that leave through `..` go through whole(): Lua would print 16 digits as 1.7e+15.

local META, DEV, USED, QUAR, REQ, DL, GONE, YIELD, EV, INBOX, HIST, STAT, REPLICAS = unpack(KEYS, 1, 13)
local me, known_token, known_epoch = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[5])

local SCAN = 256 -- waiters that one turn looks at behind one that cannot be served
local EVENTS_KEPT, NOTICES_KEPT = 10000, 10000
local DONE_KEPT_US = 60 * 1000000
local NEVER = 9000000000000000
local NOBODY = string.rep('0', 40)

local function whole(number) return string.format('%.0f', number or 0) end
local function text(value) if type(value) == 'number' then return whole(value) end return value or '' end
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
local found = redis.call('HMGET', META, 'now', 'off', 'tok', 'seq', 'phase', 'until', 'epoch', 'runid', 'replid', 'conf', 'told',
  'devices')
local off, token, sequence = tonumber(found[2]) or 0, tonumber(found[3]) or 0, tonumber(found[4]) or 0
local phase, open_at, epoch = found[5] or 'open', tonumber(found[6]) or 0, tonumber(found[7]) or 0
local conf = found[10] and cjson.decode(found[10]) or nil
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
    'd', devices or '', 'n', whole(rec.tok), 'w', text(reason), 'c', rec.client or '', 'at', whole(now))
end

-- The tripwire: nothing is granted by a store that may have forgotten a grant before its holders had the time to say so.
local info = redis.call('INFO', 'server', 'replication')
local run_id, repl_id = string.match(info, 'run_id:(%w+)'), string.match(info, 'master_replid:(%w+)')
do
  local tripped
  if not found[8] then
    tripped = 'empty'
  elseif found[8] ~= run_id then
    tripped = 'restarted'
  elseif found[9] ~= repl_id and string.match(info, 'master_replid2:(%w+)') ~= NOBODY then
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

local function incr(pool, field, by)
  redis.call('HINCRBY', STAT, pool .. '|' .. field, by and whole(by) or 1)
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

-- A record as gpulock/record.py reads it: strings in a fixed order.
local function export(rec)
  return { rec.id, rec.pool, rec.st, rec.dev, whole(rec.mib), whole(rec.n), whole(rec.prio), rec.user, rec.task, rec.what,
    rec.client, rec.node, rec.host, rec.pre and '1' or '0', whole(rec.enq), whole(rec.tok), device_list(rec), whole(rec.ga),
    whole(rec.exp), whole(rec.beat), rec.warm and '1' or '0', rec.model or '', rec.stop or '', whole(rec.stopat), rec.why or '',
    rec.replica or '', rec.detail or '', rec.parked and '1' or '0' }
end

-- Tell the client of a request; its replica may be another one, which reads its inbox.
local function tell(kind, rec, extra)
  if rec.replica == me then
    out[#out + 1] = { kind, export(rec), text(extra) }
  elseif (rec.replica or '') ~= '' then
    redis.call('XADD', INBOX, 'MAXLEN', '~', NOTICES_KEPT, '*', 'to', rec.replica, 'm',
      cjson.encode({ kind, export(rec), text(extra), whole(now) }))
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
  for letter in string.gmatch(letters, '.') do members[#members + 1] = letter .. id end
  redis.call('ZREM', DL, unpack(members))
end

local function finish(...)
  local fields = { 'now', whole(now) }
  local function keep(name, value, before)
    if value ~= before then
      fields[#fields + 1] = name
      fields[#fields + 1] = value
    end
  end
  keep('off', whole(off), found[2])
  keep('tok', whole(token), found[3])
  keep('seq', whole(sequence), found[4])
  keep('phase', phase, found[5])
  keep('until', whole(open_at), found[6])
  keep('epoch', whole(epoch), found[7])
  keep('told', whole(told), found[11])
  for name, value in pairs(changed) do keep(name, value) end
  redis.call('HSET', META, unpack(fields))
  local first = redis.call('ZRANGE', DL, 0, 0, 'WITHSCORES')
  local due_at = first[2] and tonumber(first[2]) or -1
  if phase == 'recover' and open_at > 0 then due_at = open_at end -- until then the sweep takes nothing away
  return { whole(now), whole(epoch), phase, whole(token), whole(due_at), { ... }, out, whole(open_at) }
end

-- History and figures -------------------------------------------------------------------------------------------------------

local function remember(rec, success, reason)
  redis.call('LPUSH', HIST, cjson.encode({ export(rec), success and '1' or '0', reason, whole(now) }))
  redis.call('LTRIM', HIST, 0, conf.history - 1)
end

local function count_outcome(pool, letter)
  local field = pool .. '|recent'
  local recent = (redis.call('HGET', STAT, field) or '') .. letter
  redis.call('HSET', STAT, field, string.sub(recent, -conf.recent))
end

-- The queue -----------------------------------------------------------------------------------------------------------------
-- Order: bands of equal priority, the best first; in a band users in turn; in a turn who asked first. A band's standing grows with
-- the time since it was last served (one level of priority per conf.boost_us), so that none is passed for ever; every waiter of a
-- band ages alike, so nothing is ever scored again. Turns are the start tags of fair queueing: a request joins the round after its
-- user's last one, or the round that is being served.

local function member_of(rec) return string.format('%013.0f', rec.seq) .. ':' .. rec.id end
local function band_floor(prio) return (100 - prio) * 1000000000000 end

local function load_band(pool, prio)
  local packed = redis.call('HGET', pool.bands, whole(prio))
  return packed and cmsgpack.unpack(packed) or { n = 0, since = now, round = 0 }
end

local function save_band(pool, prio, band)
  if band.n > 0 then
    redis.call('HSET', pool.bands, whole(prio), cmsgpack.pack(band))
  else
    redis.call('HDEL', pool.bands, whole(prio))
    redis.call('ZREMRANGEBYSCORE', pool.turns, band_floor(prio), band_floor(prio) + 999999999999)
  end
end

local function enqueue(rec)
  local pool = pools[rec.pool]
  local band = load_band(pool, rec.prio)
  if band.n == 0 then band.since = now end
  local turn = whole(rec.prio) .. ':' .. rec.user
  local last = redis.call('ZSCORE', pool.turns, turn)
  rec.round = math.max(band.round, last and (tonumber(last) - band_floor(rec.prio) + 1) or 0)
  sequence = sequence + 1
  rec.seq, rec.enq, rec.st = sequence, now, 'W'
  band.n = band.n + 1
  save_band(pool, rec.prio, band)
  redis.call('ZADD', pool.turns, band_floor(rec.prio) + rec.round, turn)
  redis.call('ZADD', pool.queue, band_floor(rec.prio) + rec.round, member_of(rec))
  if rec.wait > 0 then due('w', rec.id, now + rec.wait) end
end

-- Take a waiter out of its queue; `served` moves the turn on.
local removed = 0 -- how often dequeue ran: pages of the queue move up by as much
local function dequeue(rec, served)
  local pool = pools[rec.pool]
  removed = removed + 1
  redis.call('ZREM', pool.queue, member_of(rec))
  not_due(rec.id, 'wa')
  local band = load_band(pool, rec.prio)
  band.n = band.n - 1
  if served then
    band.since = now
    if rec.round > band.round then
      band.round = rec.round
      redis.call('ZREMRANGEBYSCORE', pool.turns, band_floor(rec.prio), band_floor(rec.prio) + band.round - 1)
    end
  end
  save_band(pool, rec.prio, band)
  queue_changed()
end

-- Its place from 1, as long as no band of lower priority has waited for so long that its turn has come.
local function place(rec)
  return whole((redis.call('ZRANK', pools[rec.pool].queue, member_of(rec)) or 0) + 1)
end

-- Priorities with waiters, the one to be served first in front.
local function bands_in_order(pool)
  local packed, order = redis.call('HGETALL', pool.bands), {}
  for i = 1, #packed, 2 do
    local band = cmsgpack.unpack(packed[i + 1])
    local prio = tonumber(packed[i])
    order[#order + 1] = { prio = prio, standing = prio + (now - band.since) / conf.boost_us, n = band.n }
  end
  if #order > 1 then
    table.sort(order, function(a, b)
      if a.standing ~= b.standing then return a.standing > b.standing end
      return a.prio > b.prio
    end)
  end
  return order
end

-- Waiters of a pool in the order in which they are to be served; calls visit(rec, bands) until it gives false. visit may dequeue.
local function each_waiter(pool, limit, visit)
  local seen = 0
  local order = bands_in_order(pool)
  for _, band in ipairs(order) do
    local low, offset = band_floor(band.prio), 0
    while seen < limit do
      local page = redis.call('ZRANGEBYSCORE', pool.queue, low, low + 999999999999, 'LIMIT', offset, offset == 0 and 4 or 32)
      if #page == 0 then break end
      local before = removed
      for _, member in ipairs(page) do
        local rec = load(string.sub(member, 15))
        if rec and not visit(rec, #order) then return end
        seen = seen + 1
      end
      offset = offset + #page - (removed - before)
    end
    if seen >= limit then return end
  end
end

-- Devices -------------------------------------------------------------------------------------------------------------------

local function load_devices(pool_name)
  local packed, devices, by_name = redis.call('HGETALL', DEV), {}, {}
  for i = 1, #packed, 2 do
    local device = cmsgpack.unpack(packed[i + 1])
    if device.pool == pool_name then
      device.taken, device.coming = 0, 0
      devices[#devices + 1] = device
      by_name[device.name] = device
    end
  end
  if #devices > 1 then table.sort(devices, function(a, b) return a.order < b.order end) end
  for _, key in ipairs({ USED, QUAR }) do -- they name only devices that are in use
    local taken = redis.call('HGETALL', key)
    for i = 1, #taken, 2 do
      local device = by_name[taken[i]]
      if device then device.taken = device.taken + tonumber(taken[i + 1]) end
    end
  end
  for _, device in ipairs(devices) do device.free = device.mib - device.taken end
  return devices, by_name
end

-- Whether a device can ever serve a request.
local function suits(device, rec)
  return (rec.dev == '' or rec.dev == device.name) and (rec.host == '' or device.host == '' or rec.host == device.host)
    and device.mib >= rec.mib
end

local function needs(device, rec) return rec.mib > 0 and rec.mib or device.mib end

local function take(key, rec, sign)
  for _, device in ipairs(rec.devs) do
    local left = redis.call('HINCRBY', key, device[1], whole(sign * device[2]))
    if left == 0 then redis.call('HDEL', key, device[1]) end
  end
end

-- Leases --------------------------------------------------------------------------------------------------------------------

local function watch(rec)
  not_due(rec.id, '123')
  if conf.graded and not rec.parked and rec.st == 'G' then
    if not rec.warned then due('1', rec.id, rec.ga + conf.warn_us) end
    if not rec.stop then due('2', rec.id, rec.ga + conf.soft_us) end
    due('3', rec.id, rec.ga + conf.hard_us)
  end
end

local function beat(rec)
  rec.beat, rec.exp = now, now + conf.ttl_us -- set, never added to
  rec.promised = math.max(rec.promised or 0, rec.exp) -- what the holder may have been told, whatever the settings say later
  due('e', rec.id, rec.exp)
end

-- The deadlines of a lease that has just been granted, in one step.
local function watch_from_grant(rec)
  local deadlines = { rec.exp, 'e' .. rec.id }
  if conf.graded then
    for letter, after in pairs({ ['1'] = conf.warn_us, ['2'] = conf.soft_us, ['3'] = conf.hard_us }) do
      deadlines[#deadlines + 1] = now + after
      deadlines[#deadlines + 1] = letter .. rec.id
    end
  end
  redis.call('ZADD', DL, unpack(deadlines))
end

local function grant(rec, devs, warm)
  token = math.max(token + 1, now)
  rec.st, rec.tok, rec.devs, rec.ga, rec.warm = 'G', token, devs, now, warm
  rec.passed = nil
  take(USED, rec, 1)
  rec.beat, rec.exp = now, now + conf.ttl_us
  rec.promised = rec.exp
  watch_from_grant(rec)
  if rec.pre then redis.call('ZADD', YIELD, now, rec.id) end
  save(rec)
  count_outcome(rec.pool, '1')
  incr(rec.pool, 'granted')
  incr(rec.pool, 'wait_us', now - rec.enq)
  redis.call('HSET', STAT, rec.pool .. '|last_grant', whole(now), rec.pool .. '|last_holder', rec.task ~= '' and rec.task or rec.id)
  emit('granted', rec, '', device_list(rec))
  tell('granted', rec)
end

local function ask_to_stop(rec, reason, grace_us, why)
  if rec.stop == nil or (rec.stop == 'preempted' and reason == 'drain') then
    rec.stop, rec.stopat, rec.why = reason, grace_us > 0 and now + grace_us or 0, why or ''
    if grace_us > 0 then due('p', rec.id, rec.stopat) end
    save(rec)
    emit('stop', rec, reason, device_list(rec))
    tell('stop', rec, reason)
  end
end

-- Which devices could serve a blocked waiter if leases that agreed to give way did, and ask them to. What it will get is taken out
-- of what will come and, for the rest, out of `free` at once, so that nobody behind it counts on the same memory.
local function make_room(rec, devices, by_name, yielders)
  local function yields_to(lease)
    return lease.parked or lease.stop == 'preempted' or not rec.pre or rec.prio > lease.prio
  end
  local choices = {}
  for _, device in ipairs(devices) do
    if suits(device, rec) and not device.drain and not device.reserved then
      local need, gain, asked, leases = needs(device, rec), 0, 0, {}
      for _, lease in ipairs(yielders) do
        local on = lease.on[device.name]
        if on and not lease.spoken_for and device.free + device.coming + gain < need and yields_to(lease) then
          gain = gain + on
          leases[#leases + 1] = lease
          if lease.stop == nil then asked = asked + 1 end
        end
      end
      if device.free + device.coming + gain >= need then
        choices[#choices + 1] = { device = device, need = need, leases = leases, asked = asked, order = device.order }
      end
    end
  end
  if #choices < rec.n then return false end
  table.sort(choices, function(a, b)
    if a.asked ~= b.asked then return a.asked < b.asked end
    return a.order < b.order
  end)
  for i = 1, rec.n do
    local choice = choices[i]
    local device = choice.device
    for _, lease in ipairs(choice.leases) do
      if not lease.spoken_for then
        lease.spoken_for = true
        for name, mib in pairs(lease.on) do
          if by_name[name] then by_name[name].coming = by_name[name].coming + mib end
        end
        if lease.stop == nil then
          local whom = rec.task ~= '' and rec.task or rec.id
          ask_to_stop(load(lease.id), 'preempted', conf.yield_us, whom .. ' needs its memory')
        end
      end
    end
    local from_coming = math.min(device.coming, choice.need)
    device.coming = device.coming - from_coming
    device.free = device.free - (choice.need - from_coming)
  end
  return true
end

local function load_yielders()
  local list = {}
  for _, id in ipairs(redis.call('ZRANGE', YIELD, 0, -1)) do -- the one that idles longest goes first
    local rec = load(id)
    if rec and rec.st == 'G' then
      rec.on = {}
      for _, device in ipairs(rec.devs) do rec.on[device[1]] = device[2] end
      list[#list + 1] = rec
    end
  end
  return list
end

-- The devices that serve a request now, best fit first; nil when there are too few.
local function fit(rec, devices)
  local choices = {}
  for _, device in ipairs(devices) do
    if suits(device, rec) and not device.drain and not device.reserved then
      local need = needs(device, rec)
      if device.free >= need and (rec.mib > 0 or device.taken == 0) then
        choices[#choices + 1] = { device = device, need = need, left = device.free - need, order = device.order }
      end
    end
  end
  if #choices < rec.n then return nil end
  if #choices > 1 then
    table.sort(choices, function(a, b)
      if a.left ~= b.left then return a.left < b.left end
      return a.order < b.order
    end)
  end
  local chosen = {}
  for i = 1, rec.n do chosen[i] = choices[i] end
  table.sort(chosen, function(a, b) return a.order < b.order end)
  return chosen
end

-- Serve whoever can be served. A waiter that cannot be holds back those behind it: they may pass on devices that it could use only
-- for conf.backfill_us from the first that did, then these devices are kept for it.
local function schedule(pool_name)
  local pool = pools[pool_name]
  if phase ~= 'open' or redis.call('ZCARD', pool.queue) == 0 then return end
  local devices, by_name = load_devices(pool_name)
  local yielders = redis.call('ZCARD', YIELD) == 0 and {} or load_yielders()
  local blocked, seen = {}, {}

  local function more_to_give()
    for _, device in ipairs(devices) do
      if not device.drain and not device.reserved and device.free > 0 then return true end
    end
    for _, lease in ipairs(yielders) do
      if not lease.spoken_for then return true end
    end
    return false
  end

  local function serve(rec, chosen)
    local devs, passes = {}, false
    for i, choice in ipairs(chosen) do
      devs[i] = { choice.device.name, choice.need }
      choice.device.free = choice.device.free - choice.need
      choice.device.taken = choice.device.taken + choice.need
      for _, other in ipairs(blocked) do
        if suits(choice.device, other) then
          passes = true
          if not other.passed then
            other.passed = now
            save(other)
          end
        end
      end
    end
    if passes then incr(pool_name, 'backfills') end
    dequeue(rec, true)
    grant(rec, devs, false)
  end

  local function hold_back(rec)
    seen[rec.id] = true
    if #yielders > 0 and make_room(rec, devices, by_name, yielders) then return end
    blocked[#blocked + 1] = rec
    if rec.passed and now - rec.passed >= conf.backfill_us then
      for _, device in ipairs(devices) do
        if suits(device, rec) then device.reserved = true end
      end
    end
  end

  local again = more_to_give()
  while again do
    again = false
    each_waiter(pool, SCAN, function(rec, bands)
      -- Who is detached keeps its place and holds nobody up: its client is gone for now.
      if rec.det or seen[rec.id] then return true end
      local chosen = fit(rec, devices)
      if not chosen then
        hold_back(rec)
        return more_to_give()
      end
      serve(rec, chosen)
      if bands > 1 then -- its band has been served: another one's turn may have come
        again = more_to_give()
        return false
      end
      return more_to_give()
    end)
  end
end

local function done(rec)
  rec.st = 'D'
  rec.gone = now
  redis.call('ZADD', GONE, now + DONE_KEPT_US, rec.id)
  save(rec)
end

-- End a wait without a grant: `timeout`, `cancelled`, `refused`.
local function end_wait(rec, reason, detail)
  if rec.st == 'W' then dequeue(rec, false) end
  rec.ended, rec.detail = reason, detail or ''
  done(rec)
  if reason ~= 'cancelled' then count_outcome(rec.pool, '0') end -- who cancels has not found a fault
  incr(rec.pool, reason == 'timeout' and 'timeouts' or reason)
  remember(rec, false, reason)
  emit(reason, rec, detail)
end

-- Count what was held until now; a parked model's idling is nobody's hold.
local function count_hold(rec)
  incr(rec.pool, 'hold_us', now - rec.ga)
  incr(rec.pool, 'ended')
end

-- End a lease whose memory is back.
local function end_lease(rec, reason, detail)
  not_due(rec.id, 'e123pf')
  if rec.pre then redis.call('ZREM', YIELD, rec.id) end
  take(rec.st == 'X' and QUAR or USED, rec, -1)
  if rec.st == 'G' then
    if not rec.parked then count_hold(rec) end
    incr(rec.pool, 'rel:' .. reason)
    if reason == 'yielded' and rec.parked then incr(rec.pool, 'evictions') end
    remember(rec, true, reason)
    emit('released', rec, reason, device_list(rec))
  else
    emit('confirmed', rec, detail, device_list(rec))
  end
  rec.ended, rec.detail = reason, detail or rec.detail
  done(rec)
  schedule(rec.pool)
end

-- Take a lease from its holder. Its memory is granted again when the holder says that its processes are gone, or when the lease
-- would have run out by itself and the holder, by its own clock, has ended its work.
local function revoke(rec, reason, detail)
  not_due(rec.id, 'e123p')
  redis.call('ZREM', YIELD, rec.id)
  take(USED, rec, -1)
  take(QUAR, rec, 1)
  if not rec.parked then count_hold(rec) end
  incr(rec.pool, 'rel:' .. reason)
  incr(rec.pool, 'revocations')
  rec.st, rec.stop, rec.why, rec.detail = 'X', reason, detail or '', detail or ''
  rec.lost_at, rec.free_at = now, math.max(rec.promised, now) + conf.lock_delay_us
  due('f', rec.id, conf.auto_recovery and rec.free_at or NEVER)
  save(rec)
  remember(rec, true, reason)
  emit('revoked', rec, reason, device_list(rec))
  tell('lost', rec, reason)
end

local function attach(rec, client, node)
  local moved = rec.replica ~= me or rec.client ~= client or rec.det ~= nil
  rec.replica, rec.client, rec.node = me, client, node
  if rec.det then
    rec.det = nil
    not_due(rec.id, 'a')
  end
  return moved
end

-- Whether a message's token is that of the lease; counts those that are not.
local function fresh(rec, given)
  if rec.tok == given then return true end
  incr(rec.pool, 'stale')
  return false
end

local function forget_old(limit)
  local old = redis.call('ZRANGEBYSCORE', GONE, '-inf', now, 'LIMIT', 0, limit)
  if #old > 0 then
    redis.call('HDEL', REQ, unpack(old))
    redis.call('ZREM', GONE, unpack(old))
  end
end
