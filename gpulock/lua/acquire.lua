-- Ask for devices. Arguments: id, pool, device, MiB, devices, priority, user, task, purpose, longest wait in µs, preemptible,
-- request to take over once it is parked, client, node, host, `1` when the replica asks for a client that it heard of before. Gives
-- `granted`, `queued`, or how the request with this id ended, or `refused` and a code; `elsewhere` where the client has gone on at another
-- replica.
forget_old(4)
local client, node = arg(13), arg(14)
local rec = load(arg(1))
-- Two clients with one id would both take its devices for theirs. Who is away may have come back under another name.
if rec and rec.st ~= 'D' and rec.client ~= client and not rec.det then return finish('refused', 'GPU_REQUEST_TAKEN') end
if rec and arg(16) == '1' and rec.st ~= 'D' and rec.replica ~= me and not rec.det then return finish('elsewhere') end
if rec then
  if rec.st == 'W' then
    local anew = rec.det ~= nil or arg(12) ~= (rec.wants or '')
    if arg(12) ~= '' then rec.wants = arg(12) else rec.wants = nil end
    if attach(rec, client, node) or anew then
      save(rec)
      if anew then schedule(rec.pool) end
    end
    rec = load(rec.id)
    if rec.st == 'W' then return finish('queued', export(rec), place(rec)) end
    return finish('pushed', export(rec))
  elseif rec.st == 'G' then
    attach(rec, client, node)
    save(rec)
    push('granted', rec)
    if rec.stop then push('stop', rec, rec.stop) end
    return finish('pushed', export(rec))
  elseif rec.st == 'X' then
    attach(rec, client, node)
    save(rec)
    push('lost', rec, rec.stop)
    return finish('pushed', export(rec))
  end
  return finish('ended', export(rec), rec.ended)
end

rec = { id = arg(1), pool = arg(2), dev = arg(3), mib = number(4), n = number(5), prio = number(6), user = arg(7), task = arg(8),
  what = arg(9), wait = number(10), pre = arg(11) == '1', client = client, node = node, host = arg(15), replica = me, st = 'N',
  enq = now }

local function refuse(code) -- and keep no record: the same request may be welcome later
  if pools[rec.pool] then
    count_outcome(rec.pool, '0')
    incr(rec.pool, 'refused')
    rec.detail = code
    remember(rec, false, 'refused')
    emit('refused', rec, code)
  end
  return finish('refused', code)
end

if not pools[rec.pool] then return refuse('GPU_POOL_UNKNOWN') end
local devices, by_name = load_devices(rec.pool)
if rec.dev ~= '' and not by_name[rec.dev] then return refuse('GPU_DEVICE_UNKNOWN') end
local able, open = 0, 0
for _, device in ipairs(devices) do
  if suits(device, rec) then
    able = able + 1
    if not device.drain then open = open + 1 end
  end
end
if able < rec.n then return refuse('GPU_NEVER_FITS') end
if open < rec.n then return refuse('GPU_DRAINING') end

if arg(12) ~= '' then rec.wants = arg(12) end
if nobody_waits(pools[rec.pool]) then
  if serve_at_once(rec, devices, by_name) then return finish('pushed') end
elseif redis.call('ZCARD', pools[rec.pool].queue) >= conf.max_waiters then
  return refuse('GPU_QUEUE_FULL')
end
enqueue(rec)
save(rec)
schedule(rec.pool, devices, by_name)
local after = load(rec.id)
if after.st == 'W' then
  emit('queued', after, redis.call('ZCARD', pools[rec.pool].queue))
  queue_changed()
  return finish('queued', export(after), place(after))
end
return finish('pushed', export(after))
