-- Remove an ended task. ARGV: prefix, id.
-- Reply: {'deleted', must_settle} | {'missing', 0} | {'kept', 0}
local record = read(ARGV[2])
if not record then
  redis.call('ZREM', prefix .. 'expiry', ARGV[2])
  return { 'missing', 0 }
end
if not TERMINAL[record.state] then return { 'kept', 0 } end
return { 'deleted', erase(record) }
