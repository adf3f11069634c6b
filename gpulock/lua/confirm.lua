-- After a revocation: every process of the lease is gone and its memory is back. Arguments: id, token. Gives `confirmed` or `stale`.
local rec = load(arg(1))
if not rec or rec.st == 'D' then return finish('confirmed') end
if not fresh(rec, number(2)) then return finish('stale') end
if rec.st ~= 'X' then return finish('stale') end
incr(rec.pool, 'confirms')
redis.call('HINCRBY', STAT, '|recoveries', 1)
redis.call('HSET', STAT, '|recovery_time', whole(now))
end_lease(rec, rec.stop, 'confirmed')
return finish('confirmed')
