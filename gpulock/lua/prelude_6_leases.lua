-- Sixth part of the prelude: a lease begins, lives by its beats, and is asked to end.

local function beat(rec)
  rec.beat, rec.exp = now, now + conf.ttl_us -- set, never added to
  rec.promised = math.max(rec.promised or 0, rec.exp) -- what the holder may have been told, whatever the settings say later
end

local function grant(rec, devs, warm)
  state.tok = math.max(state.tok + 1, now)
  rec.st, rec.tok, rec.devs, rec.ga, rec.warm = 'G', state.tok, devs, now, warm
  rec.passed, rec.promised = nil, nil
  take(IN_USE, rec, 1)
  beat(rec)
  if rec.pre then redis.call('ZADD', YIELD, whole(now), rec.id) end
  save(rec)
  count_outcome(rec.pool, '1')
  incr(rec.pool, 'granted')
  incr(rec.pool, 'wait_us', now - rec.enq)
  local sums = figures_of(rec.pool)
  sums.last_grant, sums.last_holder = now, rec.task ~= '' and rec.task or rec.id
  emit('granted', rec, '', device_list(rec))
  push('granted', rec)
end

local function done(rec)
  rec.st = 'D'
  redis.call('ZADD', GONE, whole(now + DONE_KEPT_US), rec.id)
  save(rec)
end

local function ask_to_stop(rec, reason, grace_us, why)
  if rec.stop == nil or (rec.stop == 'preempted' and reason == 'drain') then
    rec.stop, rec.stopat, rec.why = reason, grace_us > 0 and now + grace_us or 0, why or ''
    save(rec)
    emit('stop', rec, reason, device_list(rec))
    push('stop', rec, reason)
  end
end
