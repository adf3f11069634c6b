-- End a live attempt and with it the task: checks the fence, stores result or error, appends the last events and the terminal
-- one, frees the slot, makes the callback due. All in one step, so that none of them can disagree.
-- ARGV: prefix, id, fence, state, ttl ms, duration, reusable, error, result, terminal body, detached, then events as in append.
-- Reply: {'ended', must_settle, record} (the record when a call at this scheduler waits for it, and no key but the result's and the
-- spec's belongs to what it is shown, else empty) | {'unasked', 0} (a node stopped what nobody cancelled: nothing is changed) | {'again', 0} (this attempt had ended the task already) | {'stale', 0}
local id, fence, state = ARGV[2], ARGV[3], ARGV[4]
local record = read(id)
if record and TERMINAL[record.state] and record.fence == fence then return { 'again', 0 } end
if not owned(record, fence) then return { 'stale', 0 } end
if state == 'cancelled' and record.state ~= 'cancelling' then return { 'unasked', 0 } end
append_all(record, 12)
if ARGV[9] ~= '' then redis.call('SET', part(id, 'result'), ARGV[9]) end
local fields = { 'duration', ARGV[6], 'reusable', ARGV[7] }
if ARGV[8] ~= '' then
  fields[#fields + 1] = 'error'
  fields[#fields + 1] = ARGV[8]
end
local must_settle = close(record, state, tonumber(ARGV[5]), record.attempt, ARGV[10], ARGV[11], fields)
local shown = record.waiter ~= '' and record.waiter == record.owner and redis.call('EXISTS', part(id, 'input')) == 0
return { 'ended', must_settle, shown and redis.call('HGETALL', task_key(id)) or {} }
