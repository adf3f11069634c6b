-- Seventh part of the prelude: who is served now, and who must give way for it.

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
        if on and not lease.spoken_for and device.free + device.coming + gain < need and yields_to(lease.rec) then
          gain = gain + on
          leases[#leases + 1] = lease
          if lease.rec.stop == nil then asked = asked + 1 end
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
        if lease.rec.stop == nil then
          local whom = rec.task ~= '' and rec.task or rec.id
          ask_to_stop(lease.rec, 'preempted', conf.yield_us, whom .. ' needs its memory')
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
      local on = {} -- what it gives back of each device
      for _, device in ipairs(rec.devs) do on[device[1]] = device[2] end
      list[#list + 1] = { rec = rec, on = on }
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
      if device.free >= need then -- all of its memory: nobody else is on it
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

-- The lease that a request wants to take over, and the devices that it gets by that; nil unless the lease is parked, by the same client,
-- and was not asked to stop.
local function resumable(rec, by_name)
  local parked = rec.wants and load(rec.wants)
  if not parked or parked.st ~= 'G' or not parked.parked or parked.stop or parked.pool ~= rec.pool
    or parked.client ~= rec.client or #parked.devs ~= rec.n or (rec.dev ~= '' and parked.devs[1][1] ~= rec.dev) then return nil end
  local devs = {}
  for i, device in ipairs(parked.devs) do
    local on = by_name[device[1]]
    local need = on and math.max(needs(on, rec), device[2])
    if not on or on.drain or on.reserved or on.free + device[2] < need then return nil end
    devs[i] = { device[1], need }
  end
  return parked, devs
end

-- A warm model's own lease goes to the task that uses the model, so that no other can come between.
local function resume(rec, parked, devs)
  redis.call('ZREM', YIELD, parked.id)
  take(IN_USE, parked, -1)
  parked.ended, parked.successor = 'resumed', rec.id
  done(parked)
  incr(rec.pool, 'warm_hits')
  incr(rec.pool, 'saved_ms', parked.load_ms or 0)
  incr(rec.pool, 'rel:resumed')
  remember(parked, true, 'resumed')
  emit('resumed', parked, rec.id, device_list(parked))
  grant(rec, devs, true)
end

-- Serve whoever can be served. A waiter that cannot be holds back those behind it: they may pass on devices that it could use only
-- for conf.backfill_us from the first that did, then these devices are kept for it. `reach`: how many waiters to look at, else SCAN.
local function schedule(pool_name, devices, by_name, reach)
  local pool = pool_of(pool_name)
  if state.phase ~= 'open' or nobody_waits(pool) then return end
  if not devices then devices, by_name = load_devices(pool_name) end
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

  local function occupy(device, mib) -- and note whom that passes
    local passes = false
    device.free = device.free - mib
    for _, other in ipairs(blocked) do
      if suits(device, other) then
        passes = true
        if not other.passed then
          other.passed = now
          save(other)
        end
      end
    end
    return passes
  end

  local function serve(rec, chosen)
    local devs, passes = {}, false
    for i, choice in ipairs(chosen) do
      devs[i] = { choice.device.name, choice.need }
      passes = occupy(choice.device, choice.need) or passes
    end
    if passes then incr(pool_name, 'backfills') end
    dequeue(rec, true)
    grant(rec, devs, false)
  end

  local function serve_warm(rec, parked, devs)
    local passes = false
    for i, device in ipairs(devs) do passes = occupy(by_name[device[1]], device[2] - parked.devs[i][2]) or passes end
    for _, lease in ipairs(yielders) do
      if lease.rec.id == parked.id then lease.spoken_for = true end
    end
    if passes then incr(pool_name, 'backfills') end
    dequeue(rec, true)
    resume(rec, parked, devs)
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
    each_waiter(pool, reach or SCAN, function(rec, bands)
      -- Who is detached keeps its place and holds nobody up: its client is gone for now.
      if rec.det or seen[rec.id] then return true end
      local parked, warm_devs = resumable(rec, by_name)
      local chosen = not parked and fit(rec, devices)
      if parked then
        serve_warm(rec, parked, warm_devs)
      elseif chosen then
        serve(rec, chosen)
      else
        hold_back(rec)
        return more_to_give()
      end
      if bands > 1 then -- its band has been served: another one's turn may have come
        again = more_to_give()
        return false
      end
      return more_to_give()
    end)
  end
end

-- Serve a new request where nobody waits, with the model that it wants or with what is free: what enqueueing and scheduling it would
-- come to.
local function serve_at_once(rec, devices, by_name)
  if state.phase ~= 'open' then return false end
  local parked, warm_devs = resumable(rec, by_name)
  if parked then
    queue_changed()
    resume(rec, parked, warm_devs)
    return true
  end
  local chosen = fit(rec, devices)
  if not chosen then return false end
  local devs = {}
  for i, choice in ipairs(chosen) do devs[i] = { choice.device.name, choice.need } end
  queue_changed()
  grant(rec, devs, false)
  return true
end
