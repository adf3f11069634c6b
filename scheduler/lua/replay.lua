-- Put a dead letter back into its queue under its own id, with fresh counters. Its start deadline concerned its first life.
-- ARGV: prefix, id, nonce, retrying body.   Reply: 'pending' | 'missing'
local id = ARGV[2]
local record = read(id)
if record and record.nonce == ARGV[3] then return 'pending' end
if not record or not redis.call('ZSCORE', prefix .. 'dead', id) then return 'missing' end
redis.call('HSET', task_key(id), 'nonce', ARGV[3])
run_again(record, ARGV[4], {}, now, 0)
return 'pending'
