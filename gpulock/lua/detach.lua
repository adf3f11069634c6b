-- A client's stream is gone: its waiters keep their places for a while. Arguments: client, ids of what it waited for.
local kept = 0
for index = 2, #ARGV - 6 do
  local rec = load(arg(index))
  if rec and rec.st == 'W' and rec.replica == me and rec.client == arg(1) and not rec.det then
    rec.det = now
    save(rec)
    kept = kept + 1
  end
end
if kept > 0 then
  for _, name in ipairs(pool_names) do schedule(name) end -- those behind a blocked head may go now
end
return finish(kept)
