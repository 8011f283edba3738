-- Drops ended jobs whose time has passed, at most ARGV[3], and entries of jobs that are gone. Answers how many.

local left = tonumber(ARGV[3])
for _, full in ipairs(call('SMEMBERS', key('queues'))) do
  local queue = string.sub(full, #key('queue', '') + 1)
  for _, registry in ipairs({ key('finished', queue), key('failed', queue) }) do
    if left > 0 then
      for _, id in ipairs(call('ZRANGEBYSCORE', registry, 0, whole(SECONDS), 'LIMIT', 0, left)) do
        call('ZREM', registry, id)
        local status = status_of(id)
        -- One that runs again is in other hands.
        if not OPEN[status or ''] then forget(id) end
        left = left - 1
      end
    end
  end
  -- Nobody cleans this registry but us; its jobs go by their own time to live.
  for _, id in ipairs(call('ZRANGE', key('canceled', queue), 0, 99)) do
    if call('EXISTS', key('job', id)) == 0 then call('ZREM', key('canceled', queue), id) end
  end
end
return tonumber(ARGV[3]) - left
