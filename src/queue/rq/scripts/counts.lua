-- Jobs of every queue by state: name, then queued, scheduled, started, finished, failed, canceled.

local found = {}
for _, full in ipairs(call('SMEMBERS', key('queues'))) do
  local queue = string.sub(full, #key('queue', '') + 1)
  found[#found + 1] = { queue, call('LLEN', full),
    call('ZCARD', key('scheduled', queue)) + call('ZCARD', key('deferred', queue)),
    call('ZCARD', key('wip', queue)), call('ZCARD', key('finished', queue)),
    call('ZCARD', key('failed', queue)), call('ZCARD', key('canceled', queue)) }
end
return found
