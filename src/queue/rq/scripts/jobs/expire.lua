-- Deletes expired ended jobs, at most ARGV[3], and entries of jobs that are gone or have ended otherwise
-- since. A job that was enqueued again after its end does not expire any more. Answers how many entries were deleted.

even_when_full()

-- The most entries that are looked at before their time, the next first, and how many seconds before. Others may delete
-- an entry as soon as its time is over, and then nothing tells of its job.
local SOON, AHEAD = 1000, 10
local left, queues = tonumber(ARGV[3]), some_queues()

local function expire(registry, queue)
  local name = key(registry, queue)
  for _, id in ipairs(call('ZRANGEBYSCORE', name, 0, whole(SECONDS), 'LIMIT', 0, left)) do
    drop_end(registry, queue, id)
    left = left - 1
  end
  local next_ones = call('ZRANGEBYSCORE', name, whole(SECONDS + 1), whole(SECONDS + AHEAD), 'LIMIT', 0,
    math.ceil(SOON / #queues))
  for _, id in ipairs(next_ones) do live_on(registry, queue, id) end
end

-- One look in a second is enough, however many processes there are.
local looks_through = call('GET', ours('looked')) ~= whole(SECONDS)
if looks_through then call('SET', ours('looked'), whole(SECONDS)) end

-- A part of what lies in the queue, from its tail to its head, to which ids move meanwhile. The next look goes on there.
local function look_through(queue)
  local line, marks = key('queue', queue), ours('lines')
  local length, mark = call('LLEN', line), tonumber(call('HGET', marks, queue) or '')
  local behind = mark and math.min(mark, length) or length
  local first = math.max(behind - math.ceil(SOON / #queues), 0)
  for _, id in ipairs(call('LRANGE', line, first, behind - 1)) do wait_on(id) end
  if first > 0 then call('HSET', marks, queue, whole(first)) elseif mark then call('HDEL', marks, queue) end
end

for _, full in ipairs(queues) do
  local queue = string.sub(full, #key('queue', '') + 1)
  if looks_through then unless_spoiled(look_through, queue) end
  for _, registry in ipairs({ 'finished', 'failed' }) do
    if left > 0 then unless_spoiled(expire, registry, queue) end
  end
end
return tonumber(ARGV[3]) - left
