-- Takes jobs from the head of a queue, registers them and marks them as started: at no moment is a job in no list.
-- ARGV[3]: queue; [4]: process; then for each free slot an execution and a worker.
-- Answers: the time; the names of the fields; for each job taken its place among the slots, its id and its fields; the ids
-- that stood for nothing that can be run.

local FIELDS = { 'status', 'data', 'timeout', 'x_attempt', 'origin', 'created_at', 'enqueued_at', 'retries_left',
  'retry_intervals', 'result_ttl', 'failure_ttl', 'x_failures', 'x_orphaned', 'meta',
  'success_callback_name', 'failure_callback_name', 'stopped_callback_name' }
-- Looked up only for a job that names one of the last three.
local TIMES = { 'success_callback_timeout', 'failure_callback_timeout', 'stopped_callback_timeout' }

local NAMES = {}
for _, names in ipairs({ FIELDS, TIMES }) do
  for _, name in ipairs(names) do NAMES[#NAMES + 1] = name end
end

local queue, process, now, beat = ARGV[3], ARGV[4], stamp(), epoch()
local lease = call('ZSCORE', ours('leases'), process)
local held_back = call('EXISTS', key('suspended')) == 1 or call('HEXISTS', ours('paused'), queue) == 1
if held_back or not lease or tonumber(lease) <= MILLIS then return { now, NAMES, {}, {} } end

local slots, used, taken, wip, lent, broken = (#ARGV - 4) / 2, 0, {}, {}, {}, {}
-- The workers of a process are registered together, and run out together.
local registered = slots > 0 and call('EXISTS', key('worker', ARGV[6])) == 1

local function start(id, fields)
  local execution, worker = ARGV[5 + used * 2], ARGV[6 + used * 2]
  local timeout = tonumber(fields[3] or '') or 180
  local ttl = (timeout > 0 and math.min(timeout, 30) or 30) + 60
  local member = id .. ':' .. execution
  wip[#wip + 1] = whole(SECONDS + ttl)
  wip[#wip + 1] = member
  lent[#lent + 1] = member
  lent[#lent + 1] = process .. ' ' .. worker .. ' ' .. beat .. ' ' .. queue
  local name, execution_key, executions = key('job', id), key('execution', member), key('executions', id)
  call('HSET', name, 'status', 'started', 'started_at', now, 'last_heartbeat', now, 'worker_name', worker,
    'x_attempt', whole((tonumber(fields[4] or '') or 0) + 1))
  call('PERSIST', name)
  call('HSET', execution_key, 'id', execution, 'job_id', id, 'created_at', beat, 'last_heartbeat', beat,
    'worker_name', worker)
  call('EXPIRE', execution_key, ttl)
  try('ZADD', executions, whole(SECONDS + ttl + 60), execution)
  call('EXPIRE', executions, ttl + 60)
  if registered then
    local mine = key('worker', worker, 'executions')
    call('HSET', key('worker', worker), 'state', 'busy', 'current_job', id)
    call('SADD', mine, member)
    call('EXPIRE', mine, ttl + 60)
  end
  -- What is missing at the end need not be said.
  for i = #FIELDS, 1, -1 do
    if fields[i] then break end
    fields[i] = nil
  end
  taken[#taken + 1] = { used, id, fields }
  used = used + 1
end

while used < slots do
  local ids = call('LPOP', key('queue', queue), slots - used)
  if not ids or #ids == 0 then break end
  for _, id in ipairs(ids) do
    local fields = redis.pcall('HMGET', key('job', id), unpack(FIELDS))
    local last = #FIELDS
    if (fields[last] or '') .. (fields[last - 1] or '') .. (fields[last - 2] or '') ~= '' then
      for i, time in ipairs(call('HMGET', key('job', id), unpack(TIMES))) do fields[last + i] = time end
    end
    -- One that was canceled or deleted meanwhile is nobody's any more.
    if fields[1] == 'queued' and fields[2] then
      start(id, fields)
    elseif fields.err or fields[1] == 'queued' or (fields[2] and not fields[1]) then
      broken[#broken + 1] = id
    elseif not fields[1] then
      give_places_back(id)
    end
  end
end
if used > 0 then
  call('ZADD', key('wip', queue), unpack(wip))
  call('HSET', ours('deliveries'), unpack(lent))
end
return { now, NAMES, taken, broken }
