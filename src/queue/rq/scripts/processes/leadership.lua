-- State of a role. ARGV[3]: role. Answers holder, remaining milliseconds, last tick; nothing if never held.

local role = as_table(call('HGETALL', ours('role', ARGV[3])))
if not role.holder then return {} end
local until_ms = tonumber(role['until'])
-- At most the duration that was asked for, whatever clock the server had then.
local left = math.min(until_ms - MILLIS, until_ms - tonumber(role.tick))
return { role.holder, whole(math.max(left, 0)), role.tick }
