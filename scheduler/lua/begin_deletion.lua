-- Mark an ended workflow as one that is being deleted: from now on it cannot go on, so that nothing runs on what is removed beneath it.
-- ARGV: prefix, id of its record.   Reply: 'marked' | 'missing' | 'wrong'
local record = read(ARGV[2])
if not record then return 'missing' end
if not TERMINAL[record.state] then return 'wrong' end
redis.call('HSET', task_key(ARGV[2]), 'deleting', '1')
return 'marked'
