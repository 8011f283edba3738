-- Moves due jobs to their queues, at most ARGV[3], for queues whose scheduler lock is free or ours. [4]:
-- host; [5]: pid; [6…]: the queues of this step. Answers how many jobs, the error of each queue that failed,
-- the queues of the next steps, and each entry that was given up, with its queue, as `told_of` tells of it.

even_when_full()
local queues, rest, first = queues_of_step(6)
local known = {}
for _, full in ipairs(queues) do known[full] = true end
for _, full in ipairs(rest) do known[full] = true end
-- A client may have removed a served queue from the list; its jobs are found again here.
for _, record in ipairs(first and try('HVALS', ours('processes')) or {}) do
  local read, process = pcall(cjson.decode, record)
  for _, queue in ipairs(read and type(process) == 'table' and process.queues or {}) do
    local full = key('queue', queue)
    local holds = not known[full] and call('EXISTS', full, full .. ':intermediate', key('wip', queue), key('scheduled', queue))
    if holds and holds > 0 then
      list_queue(queue)
      known[full], queues[#queues + 1] = true, full
    end
  end
end
-- A number, for tools that take the lock's value for a process id.
local name = call('GET', ours('scheduler'))
if not name then
  name = whole(SECONDS * 1000000 + MICROS)
  call('SET', ours('scheduler'), name)
end
local left, held, troubles, given_up = tonumber(ARGV[3]), {}, {}, {}

-- Before version 3 RQ's clients list a job before they write it, so an id without a job is looked for again each second.
-- The sixteenths in its score count how often.
local function look_again(queue, list, id)
  local looks = math.floor(tonumber(call('ZSCORE', list, id)) % 1 * 16) + 1
  if looks == 16 then
    call('ZREM', list, id)
    given_up[#given_up + 1] = { queue, told_of(id, queue) }
  else
    call('ZADD', list, string.format('%.4f', SECONDS + looks / 16), id)
  end
end

-- As in RQ, whatever its status is, unless it is cancelled.
local function move(queue, id)
  local list = key('scheduled', queue)
  local job = fields_of(id, { 'status', 'enqueue_at_front', 'enqueue_at_front_on_retry', 'ended_at' })
  if not job.status then return look_again(queue, list, id) end
  local waits = job.status ~= 'canceled'
  if waits then
    wait_again(id, queue, job.enqueue_at_front == '1' or (job.enqueue_at_front_on_retry == '1' and (job.ended_at or '') ~= ''))
  end
  call('ZREM', list, id)
  if waits then left = left - 1 end
end

local function come_due(queue)
  local trouble
  -- Nothing may be put into a queue if it could not be removed here.
  call('ZREM', key('scheduled', queue), '')
  for _, id in ipairs(call('ZRANGEBYSCORE', key('scheduled', queue), 0, whole(SECONDS), 'LIMIT', 0, math.max(left, 0))) do
    local done, why = pcall(move, queue, id)
    if not done then trouble = why end
  end
  if trouble then error(trouble, 0) end
end

for _, full in ipairs(queues) do
  local queue = string.sub(full, #key('queue', '') + 1)
  local lock = key('scheduler-lock', queue)
  local holder = call('GET', lock)
  if not holder then call('SET', lock, name, 'EX', 61) elseif holder == name then call('EXPIRE', lock, 61) end
  if not holder or holder == name then
    held[#held + 1] = queue
    -- A key of the wrong type affects only its own queue.
    local done, why = pcall(come_due, queue)
    if not done then troubles[#troubles + 1] = queue .. ': ' .. told(why) end
  end
end
-- Of very many queues only the first are named.
if #held > 0 and first then
  local mine = key('scheduler', name)
  if call('EXISTS', mine) == 0 then call('HSET', mine, 'name', name, 'created_at', stamp()) end
  call('HSET', mine, 'hostname', ARGV[4], 'pid', ARGV[5], 'queues', table.concat(held, ','), 'last_heartbeat', stamp())
  call('EXPIRE', mine, 61)
end
return { tonumber(ARGV[3]) - left, troubles, rest, given_up }
