-- Fourth part of the prelude: the order in which waiters are served.
--
-- Order: bands of equal priority, the best first; in a band users in turn; in a turn who asked first. A band's standing grows with
-- the time since it was last served (one level of priority per conf.boost_us), so that none is passed for ever; every waiter of a
-- band ages alike, so nothing is ever scored again. Turns are the start tags of fair queueing: a request joins the round after its
-- user's last one, or the round that is being served.

local function member_of(rec) return string.format('%013d', rec.seq) .. ':' .. rec.id end
local function band_floor(prio) return (100 - prio) * 1000000000000 end

-- A pool's bands by priority.
local bands_read, bands_changed
at_begin(function() bands_read, bands_changed = {}, {} end)

local function bands_of(pool)
  local bands = bands_read[pool.name]
  if not bands then
    local packed = found[pool.bands_field]
    bands = packed and cmsgpack.unpack(packed) or {}
    bands_read[pool.name] = bands
  end
  return bands
end

local function write_bands()
  for name in pairs(bands_changed) do changed['bands:' .. name] = cmsgpack.pack(bands_read[name]) end
end

local function load_band(pool, prio) return bands_of(pool)[prio] or { n = 0, since = now, round = 0 } end

local function save_band(pool, prio, band)
  bands_changed[pool.name] = true
  if band.n > 0 then
    bands_of(pool)[prio] = band
  else
    bands_of(pool)[prio] = nil
    redis.call('ZREMRANGEBYSCORE', pool.turns, whole(band_floor(prio)), whole(band_floor(prio) + 999999999999))
  end
end

local function nobody_waits(pool) return next(bands_of(pool)) == nil end

local function enqueue(rec)
  local pool = pools[rec.pool]
  local band = load_band(pool, rec.prio)
  if band.n == 0 then band.since = now end
  local turn = whole(rec.prio) .. ':' .. rec.user
  if band.round > 1 then -- turns that lie behind tell nothing any more
    redis.call('ZREMRANGEBYSCORE', pool.turns, whole(band_floor(rec.prio)), whole(band_floor(rec.prio) + band.round - 1))
  end
  local last = redis.call('ZSCORE', pool.turns, turn)
  rec.round = math.max(band.round, last and (tonumber(last) - band_floor(rec.prio) + 1) or 0)
  state.seq = state.seq + 1
  rec.seq, rec.enq, rec.st = state.seq, now, 'W'
  band.n = band.n + 1
  save_band(pool, rec.prio, band)
  redis.call('ZADD', pool.turns, whole(band_floor(rec.prio) + rec.round), turn)
  redis.call('ZADD', pool.queue, whole(band_floor(rec.prio) + rec.round), member_of(rec))
end

-- The turn of a waiter that leaves without having been served is its user's again, if it was the user's last.
local function give_turn_back(pool, rec)
  local turn, score = whole(rec.prio) .. ':' .. rec.user, band_floor(rec.prio) + rec.round
  if tonumber(redis.call('ZSCORE', pool.turns, turn)) ~= score then return end
  if rec.round > 0 then
    redis.call('ZADD', pool.turns, whole(score - 1), turn)
  else
    redis.call('ZREM', pool.turns, turn)
  end
end

-- Take a waiter out of its queue; `served` moves the turn on.
local removed -- how often dequeue ran: pages of the queue move up by as much
at_begin(function() removed = 0 end)

local function dequeue(rec, served)
  local pool = pool_of(rec.pool)
  removed = removed + 1
  redis.call('ZREM', pool.queue, member_of(rec))
  local band = load_band(pool, rec.prio)
  band.n = band.n - 1
  if served then
    band.since = now
    band.round = math.max(band.round, rec.round)
  else
    give_turn_back(pool, rec)
  end
  save_band(pool, rec.prio, band)
  queue_changed()
end

-- Its place from 1, as long as no band of lower priority has waited for so long that its turn has come.
local function place(rec)
  return (redis.call('ZRANK', pool_of(rec.pool).queue, member_of(rec)) or 0) + 1
end

-- Priorities with waiters, the one to be served first in front.
local function bands_in_order(pool)
  local order = {}
  for prio, band in pairs(bands_of(pool)) do
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
      local page = redis.call('ZRANGEBYSCORE', pool.queue, whole(low), whole(low + 999999999999), 'LIMIT', whole(offset),
        offset == 0 and '4' or '32')
      if #page == 0 then break end
      local before = removed
      for _, member in ipairs(page) do
        local rec = load(string.sub(member, 15))
        if rec and not visit(rec, #order) then return end
        if rec and not rec.det then seen = seen + 1 end -- who is away must not hide those behind it
      end
      offset = offset + #page - (removed - before)
    end
    if seen >= limit then return end
  end
end
