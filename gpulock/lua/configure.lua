-- Bring settings and devices into force. Arguments: version of the settings, the settings as JSON, then name, pool, MiB, visible and
-- host of every device. Settings older than those in force change nothing.
local version, brought = number(1), read_more('brought')
if not conf or conf.version < version or found[brought] ~= arg(3) then
  if not conf or conf.version <= version then conf = cjson.decode(arg(2)) end
  changed.settings, changed.brought = cmsgpack.pack(conf), arg(3)
  local before, devices = {}, {}
  for _, device in ipairs(all_devices()) do before[device.name] = device end
  for index = 4, #ARGV - 6, 5 do
    local was = before[arg(index)] or {}
    devices[#devices + 1] = { name = arg(index), pool = arg(index + 1), mib = number(index + 2), visible = arg(index + 3),
      host = arg(index + 4), drain = was.drain, why = was.why }
  end
  save_devices(devices)
  for _, rec in ipairs(all_leases()) do
    if rec.st == 'G' then rec.exp = now + conf.ttl_us end -- its holder has yet to hear of another rhythm
    save(rec) -- its other deadlines may be others too
  end
  emit('configured', nil, conf.version)
  redis.call('XADD', INBOX, 'MAXLEN', '~', NOTICES_KEPT, '*', 'm', '["configured"]')
end
if state.phase == 'recover' and state.open_at == 0 then state.open_at = now + conf.window_us end
for _, name in ipairs(pool_names) do schedule(name) end
return finish(conf.version)
