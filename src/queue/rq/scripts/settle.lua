-- Ends deliveries, each only while its execution holds the job. ARGV[3…]: for each a JSON object and the text of its
-- outcome, which may be any bytes. Answers 1 where it counted, else 0.

-- What is done once for all ends of this call.
local sweep = { keys = {}, deliveries = {}, wip = {}, finished = {}, failed = {} }

local function later(list, queue, first, second)
  local of = list[queue]
  if not of then
    of = {}
    list[queue] = of
  end
  of[#of + 1] = first
  of[#of + 1] = second
end

-- What is read once for all of them: by place in ARGV what is to end, by member the score by which its execution holds
-- its job and what was lent, and whether anybody waits for any of the jobs.
local ends, held, lent, is_waited_for = {}, {}, {}, false

local function read()
  local members, waiting, by_queue = {}, {}, {}
  for i = 3, #ARGV, 2 do
    local s = cjson.decode(ARGV[i])
    s.member = s.id .. ':' .. s.execution
    ends[i] = s
    members[#members + 1] = s.member
    waiting[#waiting + 1] = key('job', s.id, 'dependents')
    later(by_queue, s.queue, s.member)
  end
  for queue, of in pairs(by_queue) do
    for i, score in ipairs(call('ZMSCORE', key('wip', queue), unpack(of))) do held[of[i]] = score end
  end
  for i, what in ipairs(call('HMGET', ours('deliveries'), unpack(members))) do lent[members[i]] = what end
  is_waited_for = call('EXISTS', unpack(waiting)) > 0
end

-- How it ran, if its execution holds the job; then all that says that it runs goes with the end of this call.
local function let_go(s)
  local member = s.member
  if not held[member] then return nil end
  held[member] = nil
  later(sweep.wip, s.queue, member)
  sweep.deliveries[#sweep.deliveries + 1] = member
  sweep.keys[#sweep.keys + 1] = key('execution', member)
  sweep.keys[#sweep.keys + 1] = key('executions', s.id)
  local worker, made = string.match(lent[member] or '', '^%S+ (%S+) (%S+) ')
  if not worker then return { worker = '', made = epoch() } end
  sweep.keys[#sweep.keys + 1] = key('worker', worker, 'executions')
  return { worker = worker, made = made }
end

-- The worker is free again; `field` counts how its job ended.
local function free(run, field)
  if run.worker == '' then return end
  local name = key('worker', run.worker)
  local had = call('HMGET', name, 'current_job', 'total_working_time', field or 'state')
  if not had[1] then return end
  call('HDEL', name, 'current_job')
  if field then
    local worked = math.max(SECONDS + MICROS / 1e6 - tonumber(run.made), 0) + (tonumber(had[2] or '') or 0)
    call('HSET', name, 'state', 'idle', field, whole((tonumber(had[3] or '') or 0) + 1),
      'total_working_time', string.format('%.6f', worked))
  else
    call('HSET', name, 'state', 'idle')
  end
end

local function record(id, execution, run, kind, field, text, ttl)
  local name = key('results', id)
  if text ~= '' then
    call('XADD', name, 'MAXLEN', '10', '*', 'type', kind, 'worker_name', run.worker, 'execution_id', execution,
      'execution_started_at', run.made, 'execution_ended_at', epoch(), field, text)
  else
    call('XADD', name, 'MAXLEN', '10', '*', 'type', kind, 'worker_name', run.worker, 'execution_id', execution,
      'execution_started_at', run.made, 'execution_ended_at', epoch())
  end
  live(name, ttl)
end

local function release(id, well, job)
  if is_waited_for then release_dependents(id, well, job) end
end

-- RQ's repetition: the next run is decided at the good end of this one.
local function repeats(id, queue, job)
  local left = tonumber(job.repeats_left or '') or 0
  if left <= 0 then return false end
  local intervals = cjson.decode(job.repeat_intervals or '[0]')
  local wait = intervals[1] or 0
  if #intervals > 1 then
    table.remove(intervals, 1)
    call('HSET', key('job', id), 'repeat_intervals', cjson.encode(intervals))
  end
  call('HSET', key('job', id), 'repeats_left', whole(left - 1))
  if wait == 0 then wait_again(id, queue, false) else wait_until(id, queue, wait * 1000) end
  return true
end

local verdicts = {}

function verdicts.ack(s, run, job, text)
  free(run, 'successful_job_count')
  if s.keep == 0 then
    release(s.id, true, job)
    forget(s.id)
    return
  end
  call('HSET', key('job', s.id), 'status', 'finished', 'ended_at', stamp())
  record(s.id, s.execution, run, '1', 'return_value', text, s.keep)
  later(sweep.finished, s.queue, s.keep < 0 and '+inf' or whole(SECONDS + s.keep), s.id)
  release(s.id, true, job)
  if not repeats(s.id, s.queue, job) then keep(s.id, s.keep, job) end
end

function verdicts.bury(s, run, job, text)
  free(run, 'failed_job_count')
  if s.keep == 0 then
    release(s.id, false, job)
    forget(s.id)
    return
  end
  call('HSET', key('job', s.id), 'status', 'failed', 'ended_at', stamp())
  call('HINCRBY', key('job', s.id), 'x_failures', 1)
  record(s.id, s.execution, run, '2', 'exc_string', text, s.keep)
  later(sweep.failed, s.queue, s.keep < 0 and '-1' or whole(SECONDS + s.keep), s.id)
  release(s.id, false, job)
  keep(s.id, s.keep, job)
end

-- RQ leaves `ended_at` empty and lets dependents wait.
function verdicts.stop(s, run, job, text)
  free(run, 'failed_job_count')
  if s.keep == 0 then
    forget(s.id)
    return
  end
  call('HSET', key('job', s.id), 'status', 'stopped')
  call('HINCRBY', key('job', s.id), 'x_failures', 1)
  record(s.id, s.execution, run, '2', 'exc_string', text, s.keep)
  later(sweep.failed, s.queue, s.keep < 0 and '-1' or whole(SECONDS + s.keep), s.id)
  keep(s.id, s.keep, job)
end

function verdicts.forward(s, run)
  free(run)
  call('HSET', key('job', s.id), 'origin', s.to)
  call('SADD', key('queues'), key('queue', s.to))
  wait_again(s.id, s.to, false)
end

function verdicts.retry(s, run, job, text)
  free(run, 'failed_job_count')
  local name = key('job', s.id)
  call('HINCRBY', name, 'x_failures', 1)
  local left = tonumber(job.retries_left or '')
  if left then call('HSET', name, 'retries_left', whole(math.max(left - 1, 0))) end
  call('HSET', name, 'ended_at', stamp())
  record(s.id, s.execution, run, '2', 'exc_string', text, FAILURE_TTL)
  if s.delay_ms > 0 then
    wait_until(s.id, s.queue, s.delay_ms)
  else
    wait_again(s.id, s.queue, job.enqueue_at_front_on_retry == '1')
  end
end

function verdicts.back(s, run)
  free(run)
  wait_again(s.id, s.queue, s.to_head)
end

function verdicts.rescue(s, run)
  free(run)
  call('HINCRBY', key('job', s.id), 'x_orphaned', 1)
  wait_again(s.id, s.queue, true)
end

local WANTED = { 'status', 'repeats_left', 'repeat_intervals', 'retries_left', 'enqueue_at_front_on_retry', 'dependency_ids',
  'rate_limit_key' }

-- What lies around a job may be of any type: then this job fails saying so, and the others of the call do not.
local function conclude(s, run, job, text)
  local done, why = pcall(verdicts[s.verdict], s, run, job, text)
  if done then return end
  why = type(why) == 'table' and why.err or tostring(why)
  call('HSET', key('job', s.id), 'status', 'failed', 'ended_at', stamp(), 'x_remark', 'its end could not be written: ' .. why)
  call('ZADD', key('failed', s.queue), whole(SECONDS + FAILURE_TTL), s.id)
  call('EXPIRE', key('job', s.id), FAILURE_TTL)
end

local answers = {}
if ARGV[3] then read() end
for i = 3, #ARGV, 2 do
  local s, text = ends[i], ARGV[i + 1]
  local run = let_go(s)
  local job = run and fields_of(s.id, WANTED)
  local counts = job and job.status
  if counts == 'canceled' then
    -- A person took it out while it ran: what it did is recorded, where it stands is not.
    free(run)
    if s.verdict == 'ack' and s.keep ~= 0 then record(s.id, s.execution, run, '1', 'return_value', text, s.keep) end
  elseif counts then
    conclude(s, run, job, text)
    if s.remark and call('EXISTS', key('job', s.id)) == 1 then call('HSET', key('job', s.id), 'x_remark', s.remark) end
  elseif run then
    free(run)
    give_places_back(s.id)
  end
  if counts and job.rate_limit_key then
    local status = call('HGET', key('job', s.id), 'status')
    if status ~= 'queued' and status ~= 'started' then give_place_back(job.rate_limit_key, s.id) end
  end
  answers[#answers + 1] = counts and 1 or 0
end

for queue, members in pairs(sweep.wip) do call('ZREM', key('wip', queue), unpack(members)) end
for queue, pairs_of in pairs(sweep.finished) do call('ZADD', key('finished', queue), unpack(pairs_of)) end
for queue, pairs_of in pairs(sweep.failed) do call('ZADD', key('failed', queue), unpack(pairs_of)) end
if #sweep.deliveries > 0 then
  call('HDEL', ours('deliveries'), unpack(sweep.deliveries))
  call('DEL', unpack(sweep.keys))
end
return answers
