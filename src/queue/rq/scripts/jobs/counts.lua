-- Jobs of every queue by state: name, then queued, scheduled, started, finished, failed, canceled.

local function size(command, name)
  local count = redis.pcall(command, name)
  return is_something_else(count) and 0 or count
end

local found = {}
for _, full in ipairs(call('SMEMBERS', key('queues'))) do
  local queue = string.sub(full, #key('queue', '') + 1)
  found[#found + 1] = { queue, size('LLEN', full),
    size('ZCARD', key('scheduled', queue)) + size('ZCARD', key('deferred', queue)),
    size('ZCARD', key('wip', queue)), size('ZCARD', key('finished', queue)),
    size('ZCARD', key('failed', queue)), size('ZCARD', key('canceled', queue)) }
end
return found
