-- An operator takes leases from their holders. Arguments: request (empty: every lease of a device), pool, device, reason.
-- Gives the leases taken. A lease that is in quarantine already, and would stay there until somebody acts, ends when it lapses.
local taken = {}
local function force(rec)
  if rec.st == 'G' then
    revoke(rec, 'forced', arg(4))
  elseif rec.st ~= 'X' then
    return
  elseif not rec.lapses then -- its end is in the history; who has let its memory go, and why, too
    rec.detail = arg(4)
    remember(rec, true, 'forced')
  end
  rec.lapses = true
  save(rec)
  taken[#taken + 1] = export(rec)
end
if arg(1) ~= '' then
  local rec = load(arg(1))
  if rec then force(rec) end
else
  for _, rec in ipairs(load_all()) do
    if rec.pool == arg(2) and (rec.st == 'G' or rec.st == 'X') then
      for _, device in ipairs(rec.devs) do
        if device[1] == arg(3) then force(rec) break end
      end
    end
  end
end
return finish(taken)
