-- Deletes expired ended jobs, at most ARGV[3], and entries of jobs that are gone or have ended otherwise
-- since. A job that was enqueued again after its end does not expire any more. Answers how many entries were deleted.

-- The most entries that are looked at before their time, the next first, and how many seconds before. Others may delete
-- an entry as soon as its time is over, and then nothing tells of its job.
local SOON, AHEAD = 1000, 10
local left, queues = tonumber(ARGV[3]), some_queues()

-- RQ's clients leave the time to live of the earlier end where it is, unless they give the job one of its own.
local function live_on(id)
  local job = fields_of(id, { 'status', 'ttl' })
  if OPEN[job.status or ''] and (tonumber(job.ttl or '') or 0) <= 0 then
    keep(id, -1, { waited_for = true, dependency_ids = true })
  end
end

local function expire(registry, queue)
  local name = key(registry, queue)
  for _, id in ipairs(call('ZRANGEBYSCORE', name, 0, whole(SECONDS), 'LIMIT', 0, left)) do
    live_on(id)
    -- If it runs again, or has ended again, only this entry is deleted.
    if stands_in(registry, queue, id) and not is_held(id) then forget(id) end
    call('ZREM', name, id)
    left = left - 1
  end
  local next_ones = call('ZRANGEBYSCORE', name, whole(SECONDS + 1), whole(SECONDS + AHEAD), 'LIMIT', 0,
    math.ceil(SOON / #queues))
  for _, id in ipairs(next_ones) do live_on(id) end
end

for _, full in ipairs(queues) do
  local queue = string.sub(full, #key('queue', '') + 1)
  for _, registry in ipairs({ 'finished', 'failed' }) do
    if left > 0 then unless_spoiled(expire, registry, queue) end
  end
end
return tonumber(ARGV[3]) - left
