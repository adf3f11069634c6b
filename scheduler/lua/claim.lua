-- Take tasks for free slots of one replica of a node.
-- Names: node, caller (the scheduler that claims), replica, address, slots (of the replica), lease_ms, max_running_of_user and
--   max_running (0: no limit), lane, claim_token, most (how many at most).
-- Reply: {'claimed', whether others are ready, {id, record, spec, checkpoint}, ...} | {'empty'} | {'full'} | {'limit'} | {'more'}.
local given = named_arguments()
return claim(claim_ask(given.node, given))
