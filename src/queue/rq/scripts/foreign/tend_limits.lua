-- Frees places under rate limits of jobs that neither wait in their queue nor run any more, and admits
-- waiting jobs; the time to live of an earlier end is taken from those. RQ's clients do not free the places of jobs that they delete; RQ leaves that to its workers'
-- maintenance. ARGV[3]: how many limits, and how many places of each, are checked. Answers how many places it
-- freed.

local back = 0

local function look_after(limit)
  local allowed = key('rl', limit, 'allowed')
  for _, id in ipairs(call('ZRANDMEMBER', allowed, ARGV[3])) do
    local status = status_of(id)
    if status ~= 'queued' and status ~= 'started' and not is_held(id) then back = back + call('ZREM', allowed, id) end
  end
  for _, id in ipairs(call('ZRANDMEMBER', key('rl', limit, 'rate_limited'), ARGV[3])) do wait_on(id) end
  admit(limit)
end

even_when_full()
local limits = redis.pcall('SRANDMEMBER', key('rl-keys'), ARGV[3])
if is_something_else(limits) then return 0 end
for _, limit in ipairs(limits) do unless_spoiled(look_after, limit) end
return back
