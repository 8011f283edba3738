-- Counts jobs by state: queue, then queued, scheduled, started, finished, failed, canceled. ARGV[3…]: the
-- queues of this step. Answers the queues of the next steps, and the rows.

local function size(command, name)
  local count = redis.pcall(command, name)
  return is_something_else(count) and 0 or count
end

local queues, rest = queues_of_step(3)
local found = {}
for _, full in ipairs(queues) do
  local queue = string.sub(full, #key('queue', '') + 1)
  found[#found + 1] = { queue, size('LLEN', full),
    size('ZCARD', key('scheduled', queue)) + size('ZCARD', key('deferred', queue)),
    size('ZCARD', key('wip', queue)), size('ZCARD', key('finished', queue)),
    size('ZCARD', key('failed', queue)), size('ZCARD', key('canceled', queue)) }
end
return { rest, found }
