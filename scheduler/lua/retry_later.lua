-- A live attempt failed and another follows after a delay.
-- ARGV: prefix, id, fence, delay ms, error, retrying body, then events as in append.
-- Reply: {'retrying'} | {'cancelling'} (no further attempt: the caller ends the task) | {'stale'}
local id = ARGV[2]
local record = read(id)
if record and record.state == 'pending' and record.fence == ARGV[3] then return { 'retrying' } end
if not owned(record, ARGV[3]) then return { 'stale' } end
if record.state == 'cancelling' then return { 'cancelling' } end
append_all(record, 7)
return_to_queue(record, 'failed', ARGV[5])
redis.call('HSET', task_key(id), 'error', ARGV[5], 'waiting', 'waiting for the next attempt')
emit(record, record.attempt, ARGV[6])
enqueue(record, now + tonumber(ARGV[4]))
return { 'retrying' }
