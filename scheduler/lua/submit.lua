-- Accept a task: dedupe, write, index, event 1, enqueue; or say which task is there already, or why it is refused. Then take what is
-- now first in the node's queue, when the caller knows of a free slot.
-- Names: id, sha, nonce, caller (the scheduler that stores it), user, workflow, spec, depends_on (ids with spaces between), sources
--   (JSON, as `bind` has it; '': none), priority, not_before (ms, `+ms`: from now), start_deadline (ms, 0: none), asked (ms, 0: now),
--   max_queued_of_user and max_queued (0: no limit), the bodies of events accepted, accepted_blocked, run_again and
--   run_again_blocked, and what to claim for as claim.lua has it (most of 0: nothing); then `record` and the fields that the record begins with.
-- Reply: {outcome, state, created_us, {ids to settle}, claimed}; `claimed` is empty or claim.lua's reply; of a refusal `state` is a
-- place in depends_on (no_dependency) or sources (unbound). The nonce tells a repetition of this very call from another submit.
local given, first_field = named_arguments()
local id = given.id

-- Take what is first now, and have the others told of what is ready after that.
local function claimed(node)
  local ask = claim_ask(node, given)
  local answer = ask.most > 0 and claim(ask) or {}
  local ready = answer[2] or redis.call('EXISTS', queue(node, 'users')) -- a claim that took something has looked
  if ready == 1 then wake(node, given.caller) end
  return answer
end

local record = present(id)
local again = false
if record then
  if record.nonce == given.nonce then
    local first = number(redis.call('HGET', task_key(id), 'first_seq'))
    local accepted = record.state == 'blocked' and 'blocked' or 'pending' -- as the first answer said, though it may run by now
    return { first > 1 and 'again' or 'created', accepted, record.created, {}, claimed(record.node) }
  end
  if redis.call('HGET', task_key(id), 'sha') ~= given.sha then return { 'conflict', record.state, record.created, {} } end
  local reusable, asked = redis.call('HGET', task_key(id), 'reusable'), tonumber(given.asked)
  again = record.state == 'failed' or record.state == 'cancelled' or (record.state == 'completed' and reusable == '0')
  -- Who asked before it ended did not know its end: a request that was held up somewhere, or is repeated by a gateway.
  if again and asked > 0 and asked < number(redis.call('HGET', task_key(id), 'end')) then again = false end
  if not again then return { 'existing', record.state, record.created, {} } end
end

local refused = over_limit(given, 1)
if refused then return { refused, '', '0', {} } end
local needed, refusal = needs(given)
if not needed then return { refusal[1], refusal[2], '0', {} } end
settle_ended(needed)
local state = #needed.waits > 0 and 'blocked' or 'pending'

if again then
  redis.call('HSET', task_key(id), 'nonce', given.nonce)
  -- The same payload, but what is not part of it (what may be read, whose trace it is) is as it was sent now.
  redis.call('SET', part(id, 'spec'), given.spec)
  keep_bindings(id, needed)
  run_again(record, #needed.waits > 0 and given.run_again_blocked or given.run_again, needed.waits, not_before_of(given), tonumber(given.start_deadline), true)
  return { 'again', state, record.created, needed.ended, claimed(record.node) }
end
local stored = store(given, { unpack(ARGV, first_field) }, needed, now_us, true)
return { 'created', state, whole(now_us), needed.ended, claimed(stored.node) }
