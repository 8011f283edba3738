-- Removes deleted jobs from groups, and empty groups from their list, unless this was done within ten
-- minutes. ARGV[3]: how many groups, and how many jobs of each, are checked. Answers how many jobs it
-- removed.

if not call('SET', key('clean_groups'), '1', 'NX', 'EX', 599) then return 0 end
local gone = 0
for _, group in ipairs(call('SRANDMEMBER', key('groups'), ARGV[3])) do
  local name = key('group', group)
  for _, id in ipairs(call('SRANDMEMBER', name, ARGV[3])) do
    if call('EXISTS', key('job', id)) == 0 then gone = gone + call('SREM', name, id) end
  end
  if call('EXISTS', name) == 0 then call('SREM', key('groups'), group) end
end
return gone
