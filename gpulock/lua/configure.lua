-- Bring settings and devices into force. Arguments: version of the settings, the settings as JSON, then name, pool, MiB, visible and
-- host of every device. Settings older than those in force change nothing.
local version = number(1)
if not conf or conf.version < version or known_devices ~= arg(3) then
  if not conf or conf.version <= version then conf = cjson.decode(arg(2)) end
  changed.settings, changed.devices = cmsgpack.pack(conf), arg(3)
  local named = {}
  for index = 4, #ARGV - 6, 5 do
    local name, old = arg(index), redis.call('HGET', DEV, arg(index))
    local was = old and cmsgpack.unpack(old) or {}
    named[name] = true
    redis.call('HSET', DEV, name, cmsgpack.pack({ name = name, pool = arg(index + 1), mib = number(index + 2),
      visible = arg(index + 3), host = arg(index + 4), order = (index - 4) / 5, drain = was.drain, why = was.why }))
  end
  for _, name in ipairs(redis.call('HKEYS', DEV)) do
    if not named[name] then redis.call('HDEL', DEV, name) end
  end
  for _, member in ipairs(redis.call('ZRANGE', DL, 0, -1)) do
    if string.sub(member, 1, 1) == 'e' then
      local rec = load(string.sub(member, 2))
      if rec and rec.st == 'G' then
        rec.exp = now + conf.ttl_us -- its holder has yet to hear of another rhythm
        due('e', rec.id, rec.exp)
        watch(rec)
        save(rec)
      end
    end
  end
  emit('configured', nil, conf.version)
  redis.call('XADD', INBOX, 'MAXLEN', '~', NOTICES_KEPT, '*', 'to', '*', 'm', '["configured"]')
end
if phase == 'recover' and open_at == 0 then open_at = now + conf.window_us end
for _, name in ipairs(pool_names) do schedule(name) end
return finish(conf.version)
