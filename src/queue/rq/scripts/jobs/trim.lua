-- Deletes ended jobs of queues that keep more than the budget, oldest first, at most ARGV[3], and entries of cancelled
-- jobs that are gone. [4]: the most finished jobs of a queue; [5]: the most failed, and the most cancelled ones; 0 keeps
-- all. Answers how many jobs.

-- Those that are kept for ever have one score, and are ordered by their end; at most this many.
local TIED = 5000
local left = tonumber(ARGV[3])

-- Others with the same score have the same second to the end of their time; thousands may have ended in one, and reading
-- them all would cost more than it took to run them.
local function oldest(registry, count)
  local ids = call('ZRANGE', registry, 0, count - 1, 'WITHSCORES')
  local score = ids[#ids]
  if tonumber(score) > 0 and score ~= 'inf' then
    local found = {}
    for i = 1, #ids, 2 do found[#found + 1] = ids[i] end
    return found
  end
  local tied = call('ZRANGEBYSCORE', registry, score, score, 'LIMIT', 0, TIED)
  local found = {}
  for i = 1, #ids, 2 do
    if ids[i + 1] ~= score then found[#found + 1] = ids[i] end
  end
  local ended = {}
  for _, id in ipairs(tied) do ended[id] = fields_of(id, { 'ended_at' }).ended_at or '' end
  table.sort(tied, function(a, b)
    if ended[a] == ended[b] then return a < b end
    return ended[a] < ended[b]
  end)
  for _, id in ipairs(tied) do
    if #found < count then found[#found + 1] = id end
  end
  return found
end

-- Only we clean this registry; its jobs expire by their own time to live, unless they were enqueued again.
local function clean_canceled(queue)
  for _, id in ipairs(call('ZRANDMEMBER', key('canceled', queue), 100)) do
    if not stands_in('canceled', queue, id) then
      live_on('canceled', queue, id)
      call('ZREM', key('canceled', queue), id)
    end
  end
end

for _, full in ipairs(some_queues()) do
  local queue = string.sub(full, #key('queue', '') + 1)
  unless_spoiled(clean_canceled, queue)
  local budgets = { finished = tonumber(ARGV[4]), failed = tonumber(ARGV[5]), canceled = tonumber(ARGV[5]) }
  for _, kind in ipairs({ 'finished', 'failed', 'canceled' }) do
    local registry = key(kind, queue)
    local count = redis.pcall('ZCARD', registry)
    local excess = (is_something_else(count) and 0 or count) - budgets[kind]
    if budgets[kind] > 0 and excess > 0 and left > 0 then
      for _, id in ipairs(oldest(registry, math.min(excess, left))) do
        drop_end(kind, queue, id)
        left = left - 1
      end
    end
  end
end
return tonumber(ARGV[3]) - left
