-- The only script that lets time take anything away. Arguments: the logical time after this replica's last sweep in µs (0: none),
-- µs that have passed since on its clock (which counts suspension and knows no steps), slack in µs, µs until which this replica
-- counts as alive, how many deadlines to deal with. Gives how many it dealt with, the step of Redis's clock that it undid in µs,
-- and, for each lease that it took, how late it was.
if not conf then return finish('unconfigured') end
local before, passed, slack = number(1), number(2), number(3)
local step = 0
if before > 0 then
  local surplus = raw + off - (before + passed)
  if math.abs(surplus) > slack then
    step = surplus
    off = off - surplus
    local shown = now -- what scripts took for the time since the step
    now = before + passed
    -- An instant that was set for later: before the step it was right; after one back it is too early; after one forward it is too
    -- late, and seen by its lying further off than it was ever meant to.
    local function set_right(at, length) return math.min(at + math.max(0, now - shown), now + length) end
    -- What was set since the step was set by the wrong time: too late after a step forward, too early after one back.
    for _, member in ipairs(redis.call('ZRANGE', DL, 0, -1)) do
      local letter, rec = string.sub(member, 1, 1), load(string.sub(member, 2))
      if rec and letter == 'e' and rec.beat >= math.min(before, now) then
        rec.ga = math.min(rec.ga, now)
        local left = rec.promised - rec.beat
        rec.promised = now + left -- it was reckoned by the wrong time
        beat(rec)
        watch(rec)
        save(rec)
      elseif rec and letter == 'f' and rec.lost_at >= math.min(before, now) then
        rec.promised = set_right(rec.promised, rec.promised - rec.beat)
        rec.free_at = math.max(rec.promised, now) + conf.lock_delay_us
        rec.lost_at = math.min(rec.lost_at, now)
        due('f', rec.id, conf.auto_recovery and rec.free_at or NEVER)
        save(rec)
      elseif rec and letter == 'w' and rec.enq > now then
        rec.enq = now
        due('w', rec.id, now + rec.wait)
        save(rec)
      elseif rec and letter == 'a' and rec.det > now then
        rec.det = now
        due('a', rec.id, now + conf.grace_us)
        save(rec)
      end
    end
    if phase == 'recover' and open_at > 0 then open_at = set_right(open_at, conf.window_us) end
    for _, name in ipairs(pool_names) do
      for _, band in ipairs(bands_in_order(pools[name])) do
        local found_band = load_band(pools[name], band.prio)
        if found_band.since > now then
          found_band.since = now
          save_band(pools[name], band.prio, found_band)
        end
      end
    end
    told = math.min(told, now)
  end
end

redis.call('ZADD', REPLICAS, now + number(4), me)
redis.call('HINCRBY', STAT, '|checks', 1)
redis.call('HSET', STAT, '|check_time', now)
redis.call('HSETNX', STAT, '|start_time', now)
forget_old(1000)

-- Waiters of a replica that died keep their places for a while, as those of a client that went away do.
for _, replica in ipairs(redis.call('ZRANGEBYSCORE', REPLICAS, '-inf', '(' .. whole(now))) do
  redis.call('ZREM', REPLICAS, replica)
  for _, name in ipairs(pool_names) do
    for _, member in ipairs(redis.call('ZRANGE', pools[name].queue, 0, -1)) do
      local rec = load(string.sub(member, 15))
      if rec and rec.replica == replica and not rec.det then
        rec.det = now
        due('a', rec.id, now + conf.grace_us)
        save(rec)
      end
    end
  end
end

local dealt, late, to_schedule = 0, {}, {}
if phase == 'recover' then
  if open_at == 0 or now < open_at then return finish(0, step, late) end
  phase, open_at = 'open', 0
  emit('recovered')
  for _, name in ipairs(pool_names) do to_schedule[name] = true end
end

local actions = {}

function actions.w(rec) -- it has waited for as long as it wanted to
  if rec.st ~= 'W' then return end
  tell('timeout', rec, now - rec.enq)
  end_wait(rec, 'timeout')
  to_schedule[rec.pool] = true
end

function actions.a(rec) -- its client did not come back
  if rec.st ~= 'W' then return end
  end_wait(rec, 'cancelled', 'the client went away')
  to_schedule[rec.pool] = true
end

function actions.e(rec, at)
  if rec.st ~= 'G' then return end
  if rec.exp > now then return due('e', rec.id, rec.exp) end
  late[#late + 1] = now - at
  redis.call('HINCRBY', STAT, '|heartbeat_timeouts', 1)
  revoke(rec, 'heartbeat', 'no beat since ' .. whole((now - rec.beat) / 1000000) .. ' s')
end

actions['1'] = function(rec)
  if rec.st ~= 'G' or rec.parked or not conf.graded then return end
  rec.warned = true
  save(rec)
  redis.call('HINCRBY', STAT, '|warnings', 1)
  emit('warning', rec, 'held', device_list(rec))
  tell('warning', rec, math.max(0, rec.ga + conf.soft_us - now))
end

actions['2'] = function(rec)
  if rec.st ~= 'G' or rec.parked or not conf.graded then return end
  redis.call('HINCRBY', STAT, '|soft_timeouts', 1)
  ask_to_stop(rec, 'soft_timeout', math.max(1, rec.ga + conf.hard_us - now), 'held for longer than the soft timeout')
end

actions['3'] = function(rec)
  if rec.st ~= 'G' or rec.parked or not conf.graded then return end
  redis.call('HINCRBY', STAT, '|hard_timeouts', 1)
  revoke(rec, 'hard_timeout', 'held for longer than the hard timeout')
end

function actions.p(rec) -- it was asked to stop and has not
  if rec.st ~= 'G' or not rec.stop then return end
  if rec.stop == 'soft_timeout' then
    if not rec.parked and conf.graded then actions['3'](rec) end
    return
  end
  revoke(rec, rec.stop, rec.why .. '; it did not stop in time')
end

function actions.f(rec) -- the quarantine has lasted for as long as the holder can have gone on
  if rec.st ~= 'X' then return end
  redis.call('HINCRBY', STAT, '|recoveries', 1)
  redis.call('HSET', STAT, '|recovery_time', now)
  end_lease(rec, rec.stop, 'lapsed')
end

local found_due = redis.call('ZRANGEBYSCORE', DL, '-inf', now, 'WITHSCORES', 'LIMIT', 0, number(5))
for i = 1, #found_due, 2 do
  local member = found_due[i]
  redis.call('ZREM', DL, member)
  local rec = load(string.sub(member, 2))
  if rec then
    dealt = dealt + 1
    actions[string.sub(member, 1, 1)](rec, tonumber(found_due[i + 1]))
  end
end
for name in pairs(to_schedule) do
  if pools[name] then schedule(name) end
end
if dealt > 0 then redis.call('HINCRBY', STAT, '|unhealthy_checks', 1) end
return finish(dealt, step, late)
