-- Takes or renews a role. ARGV[3]: role; [4]: process; [5]: milliseconds. Answers 1, or 0 when another leads.

local name = ours('role', ARGV[3])
local role = as_table(call('HGETALL', name))
if role.holder and role.holder ~= ARGV[4] and tonumber(role['until']) > MILLIS then return 0 end
even_when_full()
call('SADD', ours('roles'), ARGV[3])
call('HSET', name, 'holder', ARGV[4], 'until', whole(MILLIS + tonumber(ARGV[5])), 'tick', whole(MILLIS))
return 1
