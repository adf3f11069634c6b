-- Keep the input as it became when its references were resolved.
-- ARGV: prefix, id, fence, input.   Reply: 'kept' | 'stale'
if not owned(read(ARGV[2]), ARGV[3]) then return 'stale' end
redis.call('SET', part(ARGV[2], 'input'), ARGV[4])
return 'kept'
