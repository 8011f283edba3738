-- Gives up a role, if the process has it. ARGV[3]: role; [4]: process.

local name = ours('role', ARGV[3])
if call('HGET', name, 'holder') == ARGV[4] then call('HSET', name, 'until', '0') end
return 1
