-- Last part of the prelude: how waits and leases end, and what every script does with who speaks.

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
  if rec.pre then redis.call('ZREM', YIELD, rec.id) end
  take(rec.st == 'X' and QUARANTINED or IN_USE, rec, -1)
  if rec.st == 'G' then
    if not rec.parked then count_hold(rec) end
    incr(rec.pool, 'rel:' .. reason)
    if reason == 'yielded' and rec.parked then incr(rec.pool, 'evictions') end
    remember(rec, true, reason)
    emit('released', rec, reason, device_list(rec))
  else
    redis.call('HINCRBY', STAT, '|recoveries', 1)
    redis.call('HSET', STAT, '|recovery_time', whole(now))
    emit('confirmed', rec, detail, device_list(rec))
  end
  rec.ended, rec.detail = reason, detail or rec.detail
  done(rec)
  schedule(rec.pool)
end

-- Take a lease from its holder. Its memory is granted again when the holder says that its processes are gone, or when the lease
-- would have run out by itself and the holder, by its own clock, has ended its work.
local function revoke(rec, reason, detail)
  redis.call('ZREM', YIELD, rec.id)
  take(IN_USE, rec, -1)
  take(QUARANTINED, rec, 1)
  if not rec.parked then count_hold(rec) end
  incr(rec.pool, 'rel:' .. reason)
  incr(rec.pool, 'revocations')
  rec.st, rec.stop, rec.why, rec.detail = 'X', reason, detail or '', detail or ''
  rec.lost_at, rec.free_at = now, math.max(rec.promised, now) + conf.lock_delay_us
  save(rec)
  remember(rec, true, reason)
  emit('revoked', rec, reason, device_list(rec))
  push('lost', rec, reason)
end

-- A lease that was taken over has been given up by a client that does not hold the request that took it over: it had taken that back, or
-- lost it before it began. Its model is gone now, and so the memory of that request is free.
local function end_successor(rec)
  local successor = rec.ended == 'resumed' and load(rec.successor)
  if successor and successor.st == 'X' then end_lease(successor, successor.stop, 'confirmed') end
end

local function attach(rec, client, node)
  local moved = rec.replica ~= me or rec.client ~= client or rec.det ~= nil
  rec.replica, rec.client, rec.node = me, client, node
  rec.det = nil
  return moved
end

-- Whether a message's token is that of the lease; counts those that are not.
local function fresh(rec, given)
  if rec.tok == given then return true end
  incr(rec.pool, 'stale')
  return false
end

local function forget_old(limit)
  local old = redis.call('ZRANGEBYSCORE', GONE, '-inf', whole(now), 'LIMIT', 0, limit)
  if #old > 0 then
    redis.call('HDEL', REQ, unpack(old))
    redis.call('ZREM', GONE, unpack(old))
  end
end

-- The end of every script: writes what has changed, and gives the caller what it must know whatever it asked, with the script's results.
local function finish(...)
  state.now = now
  write_records()
  write_bands()
  write_taken()
  write_figures()
  local written = { 'state', cmsgpack.pack(state) }
  for i, name in ipairs(fields) do
    if changed[name] and changed[name] ~= found[i] then
      written[#written + 1], written[#written + 2] = name, changed[name]
    end
  end
  redis.call('HSET', META, unpack(written))
  local due_at = soonest
  if state.phase == 'recover' and state.open_at > 0 then due_at = state.open_at end -- until then the sweep takes nothing away
  return { now, state.epoch, state.phase, state.tok, due_at, { ... }, out, state.open_at }
end

-- What follows are the scripts, each the body of a function.
local function script(name, body)
  redis.register_function(NAMES .. name, function(keys, argv)
    KEYS, ARGV = keys, argv
    for _, begin in ipairs(beginnings) do begin() end
    if not conf and name ~= 'configure' then return finish('unconfigured') end
    return body()
  end)
end
