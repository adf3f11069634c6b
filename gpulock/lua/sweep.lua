-- The only script that lets time take anything away. Arguments: the logical time after this replica's last sweep in µs (0: none),
-- µs that have passed since on its clock (which counts suspension and knows no steps), slack in µs, µs until which this replica
-- counts as alive, how many deadlines to deal with, Redis's own time at the last sweep in µs, and the epoch then. Gives how many
-- deadlines it dealt with, the step of Redis's clock that it undid in µs, for each lease that it took, how late it was, 1 when this
-- replica was not on record as alive, else 0, and Redis's own time.
local before, passed, slack = number(1), number(2), number(3)
local step = 0
if before > 0 then
  local expected = before + passed
  local surplus = raw + state.off - expected
  -- What scripts took for the time lies ahead, and time would stand still: the clock has stepped forward and back since anybody looked,
  -- or back.
  local ahead = now - (raw + state.off) > slack
  if ahead and math.abs(surplus) <= slack then surplus = now - expected end
  -- Redis's own clock must have stepped, too: a sweep that was held up on its way looks like a step to who sent it, and when that has
  -- been undone the others, for whom no time is missing, must not undo it again, and so on for ever. In a new epoch the store may
  -- have forgotten what was undone: then our own reckoning is all there is.
  local stepped = ahead or number(7) ~= state.epoch or math.abs(raw - (number(6) + passed)) > slack
  if stepped and math.abs(surplus) > slack then
    step = surplus
    state.off = expected - raw
    local shown = now -- what scripts took for the time since the step
    now = expected
    -- An instant that was set for later: before the step it was right; after one back it is too early; after one forward it is too
    -- late, and seen by its lying further off than it was ever meant to.
    local function set_right(at, length) return math.min(at + math.max(0, now - shown), now + length) end
    -- What was set since the step was set by the wrong time: too late after a step forward, too early after one back.
    for _, member in ipairs(redis.call('ZRANGE', DL, 0, -1)) do
      local rec = load(string.sub(member, 2))
      if rec and rec.st == 'G' and rec.beat >= math.min(before, now) then
        rec.ga = math.min(rec.ga, now)
        rec.promised = now + rec.promised - rec.beat -- it was reckoned by the wrong time
        beat(rec)
        save(rec)
      elseif rec and rec.st == 'X' and rec.lost_at >= math.min(before, now) then
        rec.promised = set_right(rec.promised, rec.promised - rec.beat)
        rec.free_at = math.max(rec.promised, now) + conf.lock_delay_us
        rec.lost_at = math.min(rec.lost_at, now)
        save(rec)
      elseif rec and rec.st == 'W' and (rec.enq > now or (rec.det or 0) > now) then
        rec.enq = math.min(rec.enq, now)
        rec.det = rec.det and math.min(rec.det, now)
        save(rec)
      end
    end
    if state.phase == 'recover' and state.open_at > 0 then state.open_at = set_right(state.open_at, conf.window_us) end
    for _, name in ipairs(pool_names) do
      for _, band in ipairs(bands_in_order(pools[name])) do
        local found_band = load_band(pools[name], band.prio)
        if found_band.since > now then
          found_band.since = now
          save_band(pools[name], band.prio, found_band)
        end
      end
    end
    state.positions_us = math.min(state.positions_us or 0, now)
  end
end

local unknown = redis.call('ZADD', REPLICAS, whole(now + number(4)), me) -- 1: it was taken for dead, or is new
if unknown == 1 then redis.call('PERSIST', inbox_of(me)) end
redis.call('HINCRBY', STAT, '|checks', 1)
redis.call('HSET', STAT, '|check_time', whole(now))
redis.call('HSETNX', STAT, '|start_time', whole(now))
forget_old(1000)

-- Waiters of a replica that died keep their places for a while, as those of a client that went away do.
for _, replica in ipairs(redis.call('ZRANGEBYSCORE', REPLICAS, '-inf', '(' .. whole(now))) do
  redis.call('ZREM', REPLICAS, replica)
  redis.call('EXPIRE', inbox_of(replica), INBOX_KEPT_SECONDS)
  for _, name in ipairs(pool_names) do
    for _, member in ipairs(redis.call('ZRANGE', pools[name].queue, 0, -1)) do
      local rec = load(string.sub(member, 15))
      if rec and rec.replica == replica and not rec.det then
        rec.det = now
        save(rec)
      end
    end
  end
end

local dealt, late, to_schedule = 0, {}, {}
if state.phase == 'recover' then
  if state.open_at == 0 or now < state.open_at then return finish(0, step, late, unknown, raw) end
  state.phase, state.open_at = 'open', 0
  emit('recovered')
  for _, name in ipairs(pool_names) do to_schedule[name] = true end
end

-- What happens when a deadline has passed. Each looks at a request as the ones before it have left it.
local actions = {}

function actions.wait(rec) -- it has waited for as long as it wanted to
  push('timeout', rec, now - rec.enq)
  end_wait(rec, 'timeout')
  to_schedule[rec.pool] = true
end

function actions.away(rec) -- its client did not come back
  push('cancelled', rec) -- or is here without our knowing: then it asks again
  end_wait(rec, 'cancelled', 'the client went away')
  to_schedule[rec.pool] = true
end

function actions.expiry(rec, at)
  late[#late + 1] = now - at
  redis.call('HINCRBY', STAT, '|heartbeat_timeouts', 1)
  revoke(rec, 'heartbeat', 'no beat since ' .. whole((now - rec.beat) / 1000000) .. ' s')
end

-- The last warnings, newest first: unlike what ends a lease they leave nothing in the history.
local WARNINGS_KEPT = 20
local function note_warning(rec)
  local given = cjson.decode(redis.call('HGET', STAT, '|given_warnings') or '[]')
  table.insert(given, 1, { whole(now), rec.id, rec.task or '', device_list(rec) })
  given[WARNINGS_KEPT + 1] = nil
  redis.call('HSET', STAT, '|given_warnings', cjson.encode(given))
end

function actions.warning(rec)
  rec.warned = true
  note_warning(rec)
  redis.call('HINCRBY', STAT, '|warnings', 1)
  emit('warning', rec, 'held', device_list(rec))
  push('warning', rec, math.max(0, rec.ga + conf.soft_us - now))
end

function actions.soft(rec)
  redis.call('HINCRBY', STAT, '|soft_timeouts', 1)
  ask_to_stop(rec, 'soft_timeout', math.max(1, rec.ga + conf.hard_us - now), 'held for longer than the soft timeout')
end

function actions.hard(rec)
  redis.call('HINCRBY', STAT, '|hard_timeouts', 1)
  revoke(rec, 'hard_timeout', 'held for longer than the hard timeout')
end

function actions.stop(rec) -- it was asked to and has not
  revoke(rec, rec.stop, rec.why .. '; it did not stop in time')
end

function actions.lapse(rec) -- the quarantine has lasted for as long as the holder can have gone on
  end_lease(rec, rec.stop, 'lapsed')
end

-- The first deadline of a request that has passed: when, and what.
local function first_due(rec)
  local list, at, what = deadlines(rec), now + 1, nil
  for i = 1, #list, 2 do
    if list[i] < at then at, what = list[i], list[i + 1] end
  end
  return at, what
end

for _, member in ipairs(redis.call('ZRANGEBYSCORE', DL, '-inf', whole(now), 'LIMIT', 0, number(5))) do
  local rec = load(string.sub(member, 2))
  if rec and rec.dl == member then
    local standing = rec.st -- one turn does not take a lease and free its memory: its holder must hear of it first
    local at, what = first_due(rec)
    while what and rec.st == standing do
      actions[what](rec, at)
      at, what = first_due(rec)
    end
    save(rec) -- even where nothing was due: its next deadline is set anew
    dealt = dealt + 1
  else
    redis.call('ZREM', DL, member)
  end
end
-- No device idles for long because whoever could use it stands behind more waiters than one turn looks at.
local look_at_all = math.abs(now - (state.looked or 0)) >= 1000000
for _, name in ipairs(pool_names) do
  local long = look_at_all and not nobody_waits(pools[name]) and redis.call('ZCARD', pools[name].queue) > SCAN
  if long then state.looked = now end
  if long or to_schedule[name] then schedule(name, nil, nil, long and conf.max_waiters or SCAN) end
  to_schedule[name] = nil
end
for name in pairs(to_schedule) do schedule(name) end -- pools that this replica does not know
if dealt > 0 then redis.call('HINCRBY', STAT, '|unhealthy_checks', 1) end
write_records()
local first = redis.call('ZRANGE', DL, 0, 0, 'WITHSCORES')
soonest = first[2] and tonumber(first[2]) or -1
return finish(dealt, step, late, unknown, raw)
