-- Takes jobs from the head of a queue, registers them and marks them as started: at no moment is a job in no list.
-- ARGV[3]: queue; [4]: process; then for each free slot an execution and a worker.
-- Answers: the time; the names of the fields; the ids of the jobs taken, in the order of the slots; the fields of each; the
-- ids that stood for nothing that can be run.

local NAMES = { 'status', 'data', 'timeout', 'x_attempt', 'success_callback_name', 'failure_callback_name',
  'stopped_callback_name', 'origin', 'created_at', 'enqueued_at', 'meta', 'result_ttl', 'failure_ttl', 'retries_left',
  'retry_intervals', 'x_failures', 'x_orphaned',
  'success_callback_timeout', 'failure_callback_timeout', 'stopped_callback_timeout' }
-- So many are looked up for every job, the others only for one that names a callback.
local ALWAYS = 17

local queue, process, now, beat = ARGV[3], ARGV[4], stamp(), epoch()
local JOB, EXECUTION, EXECUTIONS, WORKER = key('job', ''), key('execution', ''), key('executions', ''), key('worker', '')
local lease = call('ZSCORE', ours('leases'), process)
local held_back = call('EXISTS', key('suspended')) == 1 or call('HEXISTS', ours('paused'), queue) == 1
if held_back or not lease or tonumber(lease) <= MILLIS then return { now, NAMES, {}, {}, {} } end

local slots, used, taken, known, wip, lent, broken = (#ARGV - 4) / 2, 0, {}, {}, {}, {}, {}
-- The workers of a process are registered together, and run out together.
local registered = slots > 0 and call('EXISTS', key('worker', ARGV[6])) == 1

-- What is kept for how long without a sign of life. Most jobs of a call have the same timeout.
local spans = {}
local function span_of(timeout)
  local known = spans[timeout]
  if known then return known end
  local seconds = tonumber(timeout) or 180
  local ttl = (seconds > 0 and math.min(seconds, 30) or 30) + 60
  known = { wip = whole(SECONDS + ttl), execution = in_seconds(ttl), entry = whole(SECONDS + ttl + 60),
    list = in_seconds(ttl + 60) }
  spans[timeout] = known
  return known
end

local function start(id, name, fields)
  local execution, worker = ARGV[5 + used * 2], ARGV[6 + used * 2]
  local span = span_of(fields[3] or '')
  local member = id .. ':' .. execution
  wip[#wip + 1] = span.wip
  wip[#wip + 1] = member
  lent[#lent + 1] = member
  lent[#lent + 1] = process .. ' ' .. worker .. ' ' .. beat .. ' ' .. queue
  local execution_key, executions, mine = EXECUTION .. member, EXECUTIONS .. id, WORKER .. worker
  local attempt = fields[4] and whole((tonumber(fields[4]) or 0) + 1) or '1'
  call('HSET', name, 'status', 'started', 'started_at', now, 'last_heartbeat', now, 'worker_name', worker,
    'x_attempt', attempt)
  call('PERSIST', name)
  call('HSET', execution_key, 'id', execution, 'job_id', id, 'created_at', beat, 'last_heartbeat', beat,
    'worker_name', worker)
  call('PEXPIREAT', execution_key, span.execution)
  try('ZADD', executions, span.entry, execution)
  call('PEXPIREAT', executions, span.list)
  if registered then
    call('HSET', mine, 'state', 'busy', 'current_job', id)
    call('SADD', mine .. ':executions', member)
    call('PEXPIREAT', mine .. ':executions', span.list)
  end
  -- What is missing at the end need not be said.
  for i = #NAMES, 1, -1 do
    if fields[i] then break end
    fields[i] = nil
  end
  used = used + 1
  taken[used], known[used] = id, fields
end

local function is_named(field) return field and field ~= '' end

while used < slots do
  local ids = call('LPOP', key('queue', queue), slots - used)
  if not ids or #ids == 0 then break end
  for _, id in ipairs(ids) do
    local name = JOB .. id
    local fields = try('HMGET', name, unpack(NAMES, 1, ALWAYS))
    if is_named(fields[5]) or is_named(fields[6]) or is_named(fields[7]) then
      for i, time in ipairs(call('HMGET', name, unpack(NAMES, ALWAYS + 1))) do fields[ALWAYS + i] = time end
    end
    -- One that was canceled or deleted meanwhile is nobody's any more.
    if fields[1] == 'queued' and fields[2] then
      start(id, name, fields)
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
return { now, NAMES, taken, known, broken }
