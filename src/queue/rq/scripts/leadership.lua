-- Who has a role. ARGV[3]: role. Answers the holder, the milliseconds left, and the last tick; nothing when nobody ever had it.

local role = as_table(call('HGETALL', ours('role', ARGV[3])))
if not role.holder then return {} end
return { role.holder, whole(math.max(tonumber(role['until']) - MILLIS, 0)), role.tick }
