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
    -- No end is written that could not be let go.
    call('ZREM', key('wip', queue), '')
  end
  call('HDEL', ours('deliveries'), '')
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
  is_something_else(job)
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

-- What the jobs of a queue have in common, by what it is to be.
local COMMON = { queue = 'list', wip = 'zset', scheduled = 'zset', finished = 'zset', failed = 'zset' }

local function spoiled(queue)
  for kind, wanted in pairs(COMMON) do
    local is = call('TYPE', key(kind, queue)).ok
    if is ~= 'none' and is ~= wanted then return key(kind, queue) .. ': it is a ' .. is .. ', not a ' .. wanted end
  end
end

-- Whether an end would be refused to any job that ends so; then what is refused, and why.
local function refused_to_all(how)
  local refused = prove()[1]
  if refused then return refused[1] .. ': ' .. refused[2] end
  return spoiled(how.queue) or how.to and spoiled(how.to)
end

-- Why ends of this call are held. A mark on their queue lets nobody begin with one before the cause is gone: what is written
-- of an end before the refusal would be written with each try.
local refusal
local function hold_ends(queue, why)
  refusal = refusal or why
  try('SET', ours('held', queue), why, 'EX', 3600)
end

-- The job in hand keeps what says that it runs: so many keys and deliveries were to go before it.
local function hold_on(keys, deliveries)
  for i = #sweep.keys, keys + 1, -1 do sweep.keys[i] = nil end
  for i = #sweep.deliveries, deliveries + 1, -1 do sweep.deliveries[i] = nil end
  table.remove(sweep.wip[run.how.queue])
end

local function is_still_refused()
  local seen = {}
  for i = 5, #ARGV, 4 do
    local how = how_of(ARGV[i])
    local mark = not seen[how.queue] and ours('held', how.queue)
    seen[how.queue] = true
    if mark and call('EXISTS', mark) == 1 then
      refusal = refused_to_all(how)
      if refusal then return true end
      call('DEL', mark)
    end
  end
  return false
end

-- What an end changes that must not be changed twice.
local COUNTS = { 'x_failures', 'x_orphaned', 'retries_left' }
-- These put a job where others of its queue are, too.
local MOVES = { retry = true, forward = true, back = true, rescue = true }

-- What lies around a job may be of any type: then this job fails saying so, and the others of the call do not. What would be
-- refused to any other job as well is not its fault: its end is held, and written when the caller asks again. Answers whether
-- it is written.
local function conclude()
  local done, why = false, nil
  local refused = MOVES[run.how.verdict] and (spoiled(run.how.queue) or run.how.to and spoiled(run.how.to))
  local counts = run.how.verdict ~= 'ack' and try('HMGET', run.name, unpack(COUNTS)) or {}
  if not refused then done, why = pcall(verdicts[run.how.verdict]) end
  if not done then
    refused = refused or refused_to_all(run.how)
    if refused then
      for i, count in ipairs(counts) do
        if count then try('HSET', run.name, COUNTS[i], count) else try('HDEL', run.name, COUNTS[i]) end
      end
      hold_ends(run.how.queue, refused)
      return false
    end
    call('HSET', run.name, 'status', 'failed', 'ended_at', stamp(), 'x_remark', 'its end could not be written: ' .. told(why))
    call('ZADD', key('failed', run.how.queue), whole(SECONDS + FAILURE_TTL), run.id)
    live(run.name, FAILURE_TTL)
  end
  local remark = run.how.remark
  if remark and call('EXISTS', run.name) == 1 then call('HSET', run.name, 'x_remark', remark) end
  return true
end

local answers = {}
even_when_full()
if is_still_refused() then return redis.error_reply('REFUSED ' .. refusal) end
if ARGV[3] then read() end
for place = 1, #members do
  local counts, written, keys, deliveries = false, true, #sweep.keys, #sweep.deliveries
  if let_go(place) then
    counts = run.status
    if counts == 'canceled' then
      -- A person took it out while it ran: what it did is recorded, where it stands is not.
      free()
      if run.how.verdict == 'ack' and run.how.keep ~= 0 then record('1', 'return_value', run.how.keep) end
    elseif counts then
      written = conclude()
    else
      free()
      give_places_back(run.id)
    end
    if not written then hold_on(keys, deliveries) end
    if counts and written and run.rate_limit_key then
      local status = call('HGET', run.name, 'status')
      if status ~= 'queued' and status ~= 'started' then give_place_back(run.rate_limit_key, run.id) end
    end
  end
  answers[place] = counts and 1 or 0
end

-- What cannot be listed as ended is not let go.
local function list_ended(registry, ended)
  for queue, pairs_of in pairs(ended) do
    local listed = try('ZADD', key(registry, queue), unpack(pairs_of))
    if type(listed) == 'table' then
      hold_ends(queue, key(registry, queue) .. ': ' .. told(listed))
      return false
    end
  end
  return true
end
if not (list_ended('finished', sweep.finished) and list_ended('failed', sweep.failed)) then
  return redis.error_reply('REFUSED ' .. refusal)
end
for queue, members in pairs(sweep.wip) do
  if #members > 0 then call('ZREM', key('wip', queue), unpack(members)) end
end
if #sweep.deliveries > 0 then
  call('HDEL', ours('deliveries'), unpack(sweep.deliveries))
  call('DEL', unpack(sweep.keys))
end
if refusal then return redis.error_reply('REFUSED ' .. refusal) end
return answers
