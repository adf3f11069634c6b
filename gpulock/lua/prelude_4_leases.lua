-- Fourth part of the prelude: a lease begins, lives by its beats, and is asked to end.

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
  latest[rec.pool .. '|last_grant'] = now
  latest[rec.pool .. '|last_holder'] = rec.task ~= '' and rec.task or rec.id
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
