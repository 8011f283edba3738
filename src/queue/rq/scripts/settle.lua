-- Ends deliveries, each only while its execution holds the job. ARGV[3…]: for each its job, its execution, how it ends as
-- JSON, and the text of its outcome, which may be any bytes. Answers 1 where it counted, else 0.

local JOB, EXECUTION, EXECUTIONS = key('job', ''), key('execution', ''), key('executions', '')
local RESULTS, WORKER = key('results', ''), key('worker', '')

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

-- Most jobs of a call end alike.
local hows = {}
local function how_of(text)
  local known = hows[text]
  if not known then
    known = cjson.decode(text)
    hows[text] = known
  end
  return known
end

-- What is read once for all of them: the members by which they are known and what was lent, both by place; by member the
-- score by which its execution holds its job; and whether anybody waits for any of the jobs.
local members, lent, held, is_waited_for = {}, {}, {}, false

local function read()
  local waiting, by_queue = {}, {}
  for i = 3, #ARGV, 4 do
    local id, place = ARGV[i], #members + 1
    members[place] = id .. ':' .. ARGV[i + 1]
    waiting[place] = JOB .. id .. ':dependents'
    later(by_queue, how_of(ARGV[i + 2]).queue, members[place])
  end
  for queue, of in pairs(by_queue) do
    for i, score in ipairs(call('ZMSCORE', key('wip', queue), unpack(of))) do held[of[i]] = score end
  end
  lent = call('HMGET', ours('deliveries'), unpack(members))
  is_waited_for = call('EXISTS', unpack(waiting)) > 0
end

-- The end in hand: how the job ran, how it ends, and where it stands. One for all, filled anew for each: of what a script
-- does itself, making tables costs most.
local run = {}

-- Fills it, if the execution holds the job; then all that says that it runs goes with the end of this call.
local function let_go(place)
  local member = members[place]
  if not held[member] then return false end
  held[member] = nil
  local i, keys = 4 * place - 1, sweep.keys
  run.id, run.execution, run.how, run.text = ARGV[i], ARGV[i + 1], how_of(ARGV[i + 2]), ARGV[i + 3]
  run.name = JOB .. run.id
  later(sweep.wip, run.how.queue, member)
  sweep.deliveries[#sweep.deliveries + 1] = member
  keys[#keys + 1] = EXECUTION .. member
  keys[#keys + 1] = EXECUTIONS .. run.id
  local worker, made = string.match(lent[place] or '', '^%S+ (%S+) (%S+) ')
  if worker then keys[#keys + 1] = WORKER .. worker .. ':executions' end
  run.worker, run.made = worker or '', made or epoch()
  -- What every end asks of its job; what only some ask they read themselves.
  local job = try('HMGET', run.name, 'status', 'repeats_left', 'dependency_ids', 'rate_limit_key')
  run.status, run.repeats_left, run.dependency_ids, run.rate_limit_key = job[1], job[2], job[3], job[4]
  run.waited_for = false
  return true
end

-- Seconds since something was taken; what was taken in one call has one time.
local ages = {}
local function since(made)
  local known = ages[made]
  if not known then
    known = math.max(SECONDS + MICROS / 1e6 - tonumber(made), 0)
    ages[made] = known
  end
  return known
end

-- The worker is free again; `field` counts how its job ended.
local function free(field)
  if run.worker == '' then return end
  local name = WORKER .. run.worker
  local had = call('HMGET', name, 'current_job', 'total_working_time', field or 'state')
  if not had[1] then return end
  call('HDEL', name, 'current_job')
  if field then
    call('HSET', name, 'state', 'idle', field, whole((tonumber(had[3] or '') or 0) + 1),
      'total_working_time', string.format('%.6f', since(run.made) + (tonumber(had[2] or '') or 0)))
  else
    call('HSET', name, 'state', 'idle')
  end
end

local function record(kind, field, ttl)
  local name = RESULTS .. run.id
  if run.text ~= '' then
    call('XADD', name, 'MAXLEN', '10', '*', 'type', kind, 'worker_name', run.worker, 'execution_id', run.execution,
      'execution_started_at', run.made, 'execution_ended_at', epoch(), field, run.text)
  else
    call('XADD', name, 'MAXLEN', '10', '*', 'type', kind, 'worker_name', run.worker, 'execution_id', run.execution,
      'execution_started_at', run.made, 'execution_ended_at', epoch())
  end
  live(name, ttl)
end

local function release(well)
  if is_waited_for then release_dependents(run.id, well, run) end
end

-- RQ's repetition: the next run is decided at the good end of this one.
local function repeats()
  local left = run.repeats_left and tonumber(run.repeats_left) or 0
  if left <= 0 then return false end
  local intervals = cjson.decode(call('HGET', run.name, 'repeat_intervals') or '[0]')
  local wait = intervals[1] or 0
  if #intervals > 1 then
    table.remove(intervals, 1)
    call('HSET', run.name, 'repeat_intervals', cjson.encode(intervals))
  end
  call('HSET', run.name, 'repeats_left', whole(left - 1))
  if wait == 0 then wait_again(run.id, run.how.queue, false) else wait_until(run.id, run.how.queue, wait * 1000) end
  return true
end

local verdicts = {}

function verdicts.ack()
  local ttl = run.how.keep
  free('successful_job_count')
  if ttl == 0 then
    release(true)
    forget(run.id)
    return
  end
  call('HSET', run.name, 'status', 'finished', 'ended_at', stamp())
  record('1', 'return_value', ttl)
  later(sweep.finished, run.how.queue, ttl < 0 and '+inf' or whole(SECONDS + ttl), run.id)
  release(true)
  if not repeats() then keep(run.id, ttl, run) end
end

function verdicts.bury()
  local ttl = run.how.keep
  free('failed_job_count')
  if ttl == 0 then
    release(false)
    forget(run.id)
    return
  end
  call('HSET', run.name, 'status', 'failed', 'ended_at', stamp())
  call('HINCRBY', run.name, 'x_failures', 1)
  record('2', 'exc_string', ttl)
  later(sweep.failed, run.how.queue, ttl < 0 and '-1' or whole(SECONDS + ttl), run.id)
  release(false)
  keep(run.id, ttl, run)
end

-- RQ leaves `ended_at` empty and lets dependents wait.
function verdicts.stop()
  local ttl = run.how.keep
  free('failed_job_count')
  if ttl == 0 then
    forget(run.id)
    return
  end
  call('HSET', run.name, 'status', 'stopped')
  call('HINCRBY', run.name, 'x_failures', 1)
  record('2', 'exc_string', ttl)
  later(sweep.failed, run.how.queue, ttl < 0 and '-1' or whole(SECONDS + ttl), run.id)
  keep(run.id, ttl, run)
end

function verdicts.forward()
  local to = run.how.to
  free()
  call('HSET', run.name, 'origin', to)
  call('SADD', key('queues'), key('queue', to))
  wait_again(run.id, to, false)
end

function verdicts.retry()
  free('failed_job_count')
  local delay_ms, job = run.how.delay_ms, fields_of(run.id, { 'retries_left', 'enqueue_at_front_on_retry' })
  call('HINCRBY', run.name, 'x_failures', 1)
  local left = tonumber(job.retries_left or '')
  if left then call('HSET', run.name, 'retries_left', whole(math.max(left - 1, 0))) end
  call('HSET', run.name, 'ended_at', stamp())
  record('2', 'exc_string', FAILURE_TTL)
  if delay_ms > 0 then
    wait_until(run.id, run.how.queue, delay_ms)
  else
    wait_again(run.id, run.how.queue, job.enqueue_at_front_on_retry == '1')
  end
end

function verdicts.back()
  free()
  wait_again(run.id, run.how.queue, run.how.to_head)
end

function verdicts.rescue()
  free()
  call('HINCRBY', run.name, 'x_orphaned', 1)
  wait_again(run.id, run.how.queue, true)
end

-- What lies around a job may be of any type: then this job fails saying so, and the others of the call do not.
local function conclude()
  local done, why = pcall(verdicts[run.how.verdict])
  if not done then
    why = type(why) == 'table' and why.err or tostring(why)
    call('HSET', run.name, 'status', 'failed', 'ended_at', stamp(), 'x_remark', 'its end could not be written: ' .. why)
    call('ZADD', key('failed', run.how.queue), whole(SECONDS + FAILURE_TTL), run.id)
    live(run.name, FAILURE_TTL)
  end
  local remark = run.how.remark
  if remark and call('EXISTS', run.name) == 1 then call('HSET', run.name, 'x_remark', remark) end
end

local answers = {}
if ARGV[3] then read() end
for place = 1, #members do
  local counts = false
  if let_go(place) then
    counts = run.status
    if counts == 'canceled' then
      -- A person took it out while it ran: what it did is recorded, where it stands is not.
      free()
      if run.how.verdict == 'ack' and run.how.keep ~= 0 then record('1', 'return_value', run.how.keep) end
    elseif counts then
      conclude()
    else
      free()
      give_places_back(run.id)
    end
    if counts and run.rate_limit_key then
      local status = call('HGET', run.name, 'status')
      if status ~= 'queued' and status ~= 'started' then give_place_back(run.rate_limit_key, run.id) end
    end
  end
  answers[place] = counts and 1 or 0
end

for queue, members in pairs(sweep.wip) do call('ZREM', key('wip', queue), unpack(members)) end
for queue, pairs_of in pairs(sweep.finished) do call('ZADD', key('finished', queue), unpack(pairs_of)) end
for queue, pairs_of in pairs(sweep.failed) do call('ZADD', key('failed', queue), unpack(pairs_of)) end
if #sweep.deliveries > 0 then
  call('HDEL', ours('deliveries'), unpack(sweep.deliveries))
  call('DEL', unpack(sweep.keys))
end
return answers
