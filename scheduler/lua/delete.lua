-- Remove an ended task. ARGV: prefix, id, '1' = only when its time has come.
-- Reply: {'deleted', must_settle} | {'missing', 0} | {'kept', 0}
local id = ARGV[2]
local record = read(id)
if not record then
  redis.call('ZREM', prefix .. 'expiry', id)
  return { 'missing', 0 }
end
if not TERMINAL[record.state] then return { 'kept', 0 } end
if ARGV[3] == '1' and number(redis.call('HGET', task_key(id), 'expire')) > now then return { 'kept', 0 } end
return { 'deleted', erase(record) }
