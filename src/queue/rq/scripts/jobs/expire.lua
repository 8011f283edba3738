-- Drops ended jobs whose time has passed, at most ARGV[3], and entries of jobs that are gone or have ended otherwise since.
-- Answers how many.

local left = tonumber(ARGV[3])

local function expire(registry, queue)
  local name = key(registry, queue)
  for _, id in ipairs(call('ZRANGEBYSCORE', name, 0, whole(SECONDS), 'LIMIT', 0, left)) do
    -- One that runs again, or has ended again, is in other hands: the entry goes, and nothing else.
    if stands_in(registry, queue, id) and not is_held(id) then forget(id) end
    call('ZREM', name, id)
    left = left - 1
  end
end

-- Nobody cleans this registry but us; its jobs go by their own time to live.
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
