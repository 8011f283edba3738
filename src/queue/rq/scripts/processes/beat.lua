-- Writes heartbeats of workers and their jobs. ARGV[3]: process; [4…]: names of its workers. Answers the
-- executions that the process has lost according to RQ's registries.

even_when_full()
local now, beat, lost = stamp(), epoch(), {}
local suspended = call('EXISTS', key('suspended')) == 1
local function keep_worker(name)
  if call('EXISTS', name) == 1 and call('HEXISTS', name, 'death') == 0 then
    call('HSET', name, 'last_heartbeat', now)
    if suspended and call('HEXISTS', name, 'current_job') == 0 then
      call('HSET', name, 'state', 'suspended')
    elseif call('HGET', name, 'state') == 'suspended' then
      call('HSET', name, 'state', 'idle')
    end
    call('EXPIRE', name, WORKER_TTL)
  end
end

local function show_execution(name, ttl)
  if call('EXISTS', name) == 0 then return end
  call('HSET', name, 'last_heartbeat', beat)
  call('EXPIRE', name, ttl)
end

local function show_worker(worker, id, member)
  local busy = key('worker', worker)
  if call('EXISTS', busy) == 1 and call('HEXISTS', busy, 'current_job') == 0 then
    -- Registered anew while it was busy.
    call('HSET', busy, 'state', 'busy', 'current_job', id)
    call('SADD', key('worker', worker, 'executions'), member)
  end
end

local function keep_job(member, worker, made, queue)
  local id, execution = string.match(member, '^(.*):([^:]*)$')
  local fields = fields_of(id, { 'status', 'timeout', 'worker_name', 'started_at', 'x_attempt', 'x_first_at' })
  local is_same, began_last = is_the_lent(fields, worker, made)
  -- A job that RQ's maintenance failed as abandoned still runs, and ends here.
  local was_given_up = began_last and fields.status == 'failed'
  if not (fields.status and is_same and (was_given_up or call('ZSCORE', key('wip', queue), member))) then
    lost[#lost + 1] = execution
    return
  end
  local timeout = tonumber(fields.timeout or '') or 180
  local ttl = (timeout > 0 and math.min(timeout, 30) or 30) + 60
  call('ZADD', key('wip', queue), 'XX', whole(SECONDS + ttl), member)
  call('HSET', key('job', id), 'last_heartbeat', now)
  -- The end of another execution may have given it a time to live.
  call('PERSIST', key('job', id))
  unless_spoiled(show_execution, key('execution', member), ttl)
  try('ZADD', key('executions', id), 'XX', whole(SECONDS + ttl + 60), execution)
  call('EXPIRE', key('executions', id), ttl + 60)
  unless_spoiled(show_worker, worker, id, member)
  call('EXPIRE', key('worker', worker, 'executions'), ttl + 60)
end

-- Restores lost entries of the list of deliveries.
local function recall(worker)
  for _, member in ipairs(call('SMEMBERS', key('worker', worker, 'executions'))) do
    local id = string.match(member, '^(.*):[^:]*$')
    local is_known = call('HEXISTS', ours('deliveries'), member) == 1
    local queue = id and not is_known and fields_of(id, { 'origin' }).origin
    local lent = queue and recalled(ARGV[3], member, queue)
    if lent then call('HSET', ours('deliveries'), member, lent) end
  end
end

-- Keys of the wrong type of one worker do not block the others.
for i = 4, #ARGV do
  unless_spoiled(keep_worker, key('worker', ARGV[i]))
  unless_spoiled(recall, ARGV[i])
end
local lent = call('HGETALL', ours('deliveries'))
for i = 1, #lent, 2 do
  local process, worker, made, queue = parted_lent(lent[i + 1])
  if process == ARGV[3] then unless_spoiled(keep_job, lent[i], worker, made, queue) end
end
return lost
