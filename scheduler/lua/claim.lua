-- Take tasks for free slots of one replica of a node.
-- ARGV: prefix, node, scheduler, replica, address, slots, lease ms, max running of a user, max running in all, lane, claim token,
--   how many at most.
-- Reply: {'claimed', whether others are ready, {id, record, spec, checkpoint}, ...} | {'empty'} | {'full'} | {'limit'} | {'more'}.
return claim(claim_ask(ARGV[2], ARGV[3], 4))
