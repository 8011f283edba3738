-- Deletes expired ended jobs, at most ARGV[3], and entries of jobs that are gone or have ended otherwise
-- since. Answers how many.

local left = tonumber(ARGV[3])

local function expire(registry, queue)
  local name = key(registry, queue)
  for _, id in ipairs(call('ZRANGEBYSCORE', name, 0, whole(SECONDS), 'LIMIT', 0, left)) do
    -- If it runs again, or has ended again, only this entry is deleted.
    if stands_in(registry, queue, id) and not is_held(id) then forget(id) end
    call('ZREM', name, id)
    left = left - 1
  end
end

-- Only we clean this registry; its jobs expire by their own time to live.
local function clean_canceled(queue)
  for _, id in ipairs(call('ZRANDMEMBER', key('canceled', queue), 100)) do
    if not stands_in('canceled', queue, id) then call('ZREM', key('canceled', queue), id) end
  end
end

for _, full in ipairs(some_queues()) do
  local queue = string.sub(full, #key('queue', '') + 1)
  for _, registry in ipairs({ 'finished', 'failed' }) do
    if left > 0 then unless_spoiled(expire, registry, queue) end
  end
  unless_spoiled(clean_canceled, queue)
end
return tonumber(ARGV[3]) - left
