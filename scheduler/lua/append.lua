-- Store events of a live attempt, in order, each once.
-- ARGV: prefix, id, fence, then kind, node sequence, body, ...   Reply: {'running' | 'cancelling' | 'stale'}
local record = read(ARGV[2])
if not owned(record, ARGV[3]) then return { 'stale' } end
append_all(record, 4)
return { record.state }
