-- Takes jobs that are gone out of groups, and empty groups off their list, unless somebody did so within ten minutes.
-- ARGV[3]: how many groups, and of each how many jobs, are looked at. Answers how many jobs it took out.

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
