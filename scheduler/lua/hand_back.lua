-- An attempt is given back unfinished and is not counted: the node had no free slot, or is draining.
-- ARGV: prefix, id, fence, checkpoint ('' keeps the last), retrying body ('' when nothing had begun), then events as in append.
-- Reply: {'pending'} | {'cancelling'} (the caller ends the task) | {'stale'}
local id = ARGV[2]
local record = read(id)
if record and record.state == 'pending' and record.fence == ARGV[3] then return { 'pending' } end
if not owned(record, ARGV[3]) then return { 'stale' } end
if record.state == 'cancelling' then return { 'cancelling' } end
append_all(record, 6)
if ARGV[4] ~= '' then redis.call('SET', part(id, 'checkpoint'), ARGV[4]) end
return_to_queue(record, ARGV[5] ~= '' and 'handed_back' or nil) -- what had not begun is not worth a line
if ARGV[5] ~= '' then emit(record, record.attempt, ARGV[5]) end
local attempt = number(record.attempt) - 1
local tries = number(record.tries) - 1
redis.call('HSET', task_key(id), 'state', 'pending', 'attempt', attempt, 'tries', tries)
if tries == 0 and number(record.lost) == 0 and number(record.start_deadline) > 0 then
  redis.call('ZADD', prefix .. 'deadlines', record.start_deadline, id)
end
make_ready(record, number(record.ready_at))
if record.turn ~= '' then redis.call('ZADD', queue(record.node, 'users'), 'XX', 'LT', record.turn, record.user) end
return { 'pending' }
