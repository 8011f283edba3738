-- Takes back places under limits from jobs that neither wait in their queue nor run any more, and lets in who waits for
-- them: RQ's clients give back no place of what they delete from a queue, and leave that to its workers' maintenance.
-- ARGV[3]: how many limits, and of each how many places, are looked at. Answers how many places it took back.

local back = 0

local function look_after(limit)
  local allowed = key('rl', limit, 'allowed')
  for _, id in ipairs(call('ZRANDMEMBER', allowed, ARGV[3])) do
    local status = status_of(id)
    if status ~= 'queued' and status ~= 'started' and not is_held(id) then back = back + call('ZREM', allowed, id) end
  end
  admit(limit)
end

even_when_full()
local limits = redis.pcall('SRANDMEMBER', key('rl-keys'), ARGV[3])
if is_something_else(limits) then return 0 end
for _, limit in ipairs(limits) do unless_spoiled(look_after, limit) end
return back
