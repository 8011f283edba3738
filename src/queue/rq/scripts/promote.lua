-- Puts jobs that are due into their queues, at most ARGV[3], of the queues whose scheduler's lock is free or ours.
-- [4]: host; [5]: pid. Answers how many.

local queues = call('SMEMBERS', key('queues'))
-- A number, for readers that take the lock's value for a process id.
local name = call('GET', ours('scheduler'))
if not name then
  name = whole(SECONDS * 1000000 + MICROS)
  call('SET', ours('scheduler'), name)
end
local left, held = tonumber(ARGV[3]), {}
for _, full in ipairs(queues) do
  local queue = string.sub(full, #key('queue', '') + 1)
  local lock = key('scheduler-lock', queue)
  local holder = call('GET', lock)
  if not holder then call('SET', lock, name, 'EX', 61) elseif holder == name then call('EXPIRE', lock, 61) end
  if not holder or holder == name then
    held[#held + 1] = queue
    local due = left > 0 and call('ZRANGEBYSCORE', key('scheduled', queue), 0, whole(SECONDS), 'LIMIT', 0, left) or {}
    for _, id in ipairs(due) do
      call('ZREM', key('scheduled', queue), id)
      local job = fields_of(id, { 'status', 'enqueue_at_front', 'enqueue_at_front_on_retry', 'ended_at' })
      if job.status == 'scheduled' then
        wait_again(id, queue, job.enqueue_at_front == '1' or (job.enqueue_at_front_on_retry == '1' and (job.ended_at or '') ~= ''))
        left = left - 1
      end
    end
  end
end
if #held > 0 then
  local mine = key('scheduler', name)
  if call('EXISTS', mine) == 0 then call('HSET', mine, 'name', name, 'created_at', stamp()) end
  call('HSET', mine, 'hostname', ARGV[4], 'pid', ARGV[5], 'queues', table.concat(held, ','), 'last_heartbeat', stamp())
  call('EXPIRE', mine, 61)
end
return tonumber(ARGV[3]) - left
