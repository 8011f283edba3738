-- Settles deliveries, each only if its execution holds the job. ARGV[first…last]: for each its job, its execution,
-- its end as JSON, and the text of its outcome, which may be any bytes, with the new values of the end's
-- `changed_bytes` behind it. Answers 1 if it counts, else 0; if the delivery is over, 2 if it ended in this way, and
-- 3 if that job is gone, so that this is unknown. At last 1 if dependents are left for further steps, else 0.
local function settle(first, last)
  local JOB, EXECUTION, EXECUTIONS = key('job', ''), key('execution', ''), key('executions', '')
  local RESULTS, WORKER = key('results', ''), key('worker', '')

  -- Deletions that are done once for all settlements of this call.
  local sweep = { keys = {}, deliveries = {}, wip = {}, finished = {}, failed = {},
    left = { finished = {}, failed = {}, canceled = {} } }

  local function later(list, queue, first, second)
    local of = list[queue]
    if not of then
      of = {}
      list[queue] = of
    end
    of[#of + 1] = first
    of[#of + 1] = second
  end

  -- Removes the job from registries of earlier ends: a client that enqueues an id again leaves it there.
  local function leave_behind(id, queue, ...)
    for _, registry in ipairs({ ... }) do later(sweep.left[registry], queue, id) end
  end

  -- Most jobs of a call end in the same way.
  local hows = {}
  local function how_of(text)
    local known = hows[text]
    if not known then
      known = cjson.decode(text)
      hows[text] = known
    end
    return known
  end

  -- Read once for all: the registry members and lent deliveries, by index; by member the score in RQ's registry
  -- of running jobs; and whether any of the jobs has dependents.
  local members, lent, held, is_waited_for = {}, {}, {}, false

  local function read()
    if last < first then return end
    local waiting, by_queue = {}, {}
    for i = first, last, 4 do
      local id, place = ARGV[i], #members + 1
      members[place] = id .. ':' .. ARGV[i + 1]
      waiting[place] = JOB .. id .. ':dependents'
      later(by_queue, how_of(ARGV[i + 2]).queue, members[place])
    end
    for queue, of in pairs(by_queue) do
      for i, score in ipairs(call('ZMSCORE', key('wip', queue), unpack(of))) do held[of[i]] = score end
      -- No end is written if it could not be listed and expired.
      call('ZADD', key('finished', queue), 'XX', '0', '')
      call('ZADD', key('failed', queue), 'XX', '0', '')
      call('ZREM', key('wip', queue), '')
    end
    call('HDEL', ours('deliveries'), '')
    -- Nor if its execution could not be removed, which would keep the next run of the job from ending it.
    call('DEL', EXECUTION, EXECUTIONS, key('worker', '', 'executions'))
    lent = call('HMGET', ours('deliveries'), unpack(members))
    waiting[#waiting + 1] = ours('releases')
    is_waited_for = call('EXISTS', unpack(waiting)) > 0
  end

  -- The current settlement: its run, its end, and the job's state. There is one table, reused for each, because
  -- creating tables is the most expensive part of a script.
  local run = {}

  -- The text of an outcome, and as fields what stands behind it.
  local function parted(outcome, changed)
    local fields, rest = {}, #outcome
    for i = #changed, 1, -1 do
      local name, length = unpack(changed[i])
      fields[2 * i - 1], fields[2 * i] = name, outcome:sub(rest - length + 1, rest)
      rest = rest - length
    end
    return outcome:sub(1, rest), fields
  end

  -- Fills it, and returns whether the delivery is still lent; then what shows it as running is deleted after
  -- this call. Only our own list counts: what a client removes from RQ's registries is still lent.
  local let_go_of = {}
  local function let_go(place)
    local member = members[place]
    local i, keys = first + 4 * (place - 1), sweep.keys
    run.id, run.execution, run.how, run.text = ARGV[i], ARGV[i + 1], how_of(ARGV[i + 2]), ARGV[i + 3]
    run.fields = nil
    if run.how.changed_bytes then run.text, run.fields = parted(run.text, run.how.changed_bytes) end
    run.name, run.is_registered = JOB .. run.id, held[member]
    -- The fields that every end needs; ends that need more read them themselves.
    local job = try('HMGET', run.name, 'status', 'repeats_left', 'dependency_ids', 'rate_limit_key', 'x_unique', 'x_attempt',
      'worker_name', 'started_at', 'x_settled', 'x_first_at')
    is_something_else(job)
    run.status, run.repeats_left, run.dependency_ids, run.rate_limit_key = job[1], job[2], job[3], job[4]
    run.unique, run.x_attempt, run.worker_name, run.started_at, run.settled = job[5], job[6], job[7], job[8], job[9]
    run.x_first_at = job[10]
    run.waited_for, run.stays, run.registry, run.score = false, false, nil, nil
    lent[place] = lent[place] or held[member] and recalled('-', member, run.how.queue)
    if not lent[place] or let_go_of[member] then return false end
    let_go_of[member] = true
    later(sweep.wip, run.how.queue, member)
    sweep.deliveries[#sweep.deliveries + 1] = member
    keys[#keys + 1] = EXECUTION .. member
    local _, worker, made = parted_lent(lent[place])
    if worker then keys[#keys + 1] = WORKER .. worker .. ':executions' end
    run.worker, run.made = worker or '', made or epoch()
    return true
  end

  -- The registry in which a job may wait, by its status.
  local WAITS = { scheduled = 'scheduled', deferred = 'deferred', ready_to_enqueue = 'ready' }

  -- Whether it already waits for another run, because it was enqueued again while it ran.
  local function waits_again()
    local queue, found = call('HGET', run.name, 'origin') or run.how.queue, false
    if run.status == 'queued' then
      found = try('LPOS', key('queue', queue), run.id, 'RANK', '-1')
    elseif run.status == 'rate_limited' and run.rate_limit_key then
      found = try('ZSCORE', key('rl', run.rate_limit_key, 'rate_limited'), run.id)
    elseif WAITS[run.status] then
      found = try('ZSCORE', key(WAITS[run.status], queue), run.id)
    end
    -- rq-scheduler has a list of its own.
    if not found and run.status == 'scheduled' then found = try('ZSCORE', key('scheduler', 'scheduled_jobs'), run.id) end
    return found and type(found) ~= 'table'
  end

  -- Whether the job is still the one that this execution was lent. `run.stays` then says that another execution
  -- of it has not ended yet, and decides its state.
  local function is_ours()
    local is_same, began_last = is_the_lent(run, run.worker, run.made)
    local as_begun = began_last and run.status == 'started'
    if as_begun and run.x_attempt == '1' then
      sweep.keys[#sweep.keys + 1] = EXECUTIONS .. run.id
      return true
    end
    local removed = try('ZREM', EXECUTIONS .. run.id, run.execution)
    if type(removed) == 'table' then sweep.keys[#sweep.keys + 1] = EXECUTIONS .. run.id end
    -- Deleted, or enqueued again by foreign maintenance.
    if not run.status or not is_same then return false end
    -- If RQ's maintenance failed it as abandoned, it still runs, and its own end replaces that.
    local was_given_up = began_last and run.status == 'failed'
    if not (run.is_registered or as_begun or was_given_up or run.status == 'canceled') then return false end
    if was_given_up then leave_behind(run.id, run.how.queue, 'failed') end
    run.stays = is_held(run.id) or (run.status ~= 'started' and waits_again())
    return true
  end

  -- The mark by which a repeated settlement is recognised after a lost answer.
  local function mark() return run.execution .. ' ' .. run.how.verdict end

  -- Ends after which a job goes on are also told apart from it, for five to ten minutes: its next end may take its mark
  -- and all else with it.
  local SPAN, tells = 300, false
  local function told_in(spans_ago) return ours('told', whole(math.floor(SECONDS / SPAN) - spans_ago)) end

  local function tell()
    try('HSET', told_in(0), run.execution, run.how.verdict)
    if not tells then try('PEXPIREAT', told_in(0), in_seconds(2 * SPAN)) end
    tells = true
  end

  local function is_told()
    local verdict = run.how.verdict
    return try('HGET', told_in(0), run.execution) == verdict or try('HGET', told_in(1), run.execution) == verdict
  end

  -- How a delivery that is over has ended.
  local function how_it_ended()
    if run.settled == mark() or is_told() then return 2 end
    -- The mark is that of the job's last end alone.
    local kind = ({ ack = '1', bury = '2', stop = '2', retry = '2', again = '4', exhaust = '5' })[run.how.verdict]
    for _, entry in ipairs(kind and try('XREVRANGE', RESULTS .. run.id, '+', '-') or {}) do
      local fields = as_table(entry[2])
      if fields.execution_id == run.execution and fields.type == kind then return 2 end
    end
    -- Its id may stand for another job by now.
    local of = run.how.created_at
    return run.status and (not of or try('HGET', run.name, 'created_at') == of) and 0 or 3
  end

  -- Seconds since a fetch; jobs of one fetch have the same time.
  local ages = {}
  local function since(made)
    local known = ages[made]
    if not known then
      known = math.max(SECONDS + MICROS / 1e6 - tonumber(made), 0)
      ages[made] = known
    end
    return known
  end

  local function set_free(field)
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

  -- Frees the worker; `field` counts how its job ended.
  local function free(field)
    if run.worker ~= '' then unless_spoiled(set_free, field) end
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

  local function free_dependents(well)
    if is_waited_for then release_dependents(run.id, well, run) end
  end

  local function repetitions() return run.repeats_left and tonumber(run.repeats_left) or 0 end

  -- RQ's repetition: the next run is decided when this one succeeds.
  local function repeats()
    local left = repetitions()
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

  -- Failures, deaths and the retries asked for are counted for one enqueueing of a job until it succeeds; then `take` starts
  -- over.
  local function count(field)
    call('HINCRBY', run.name, field, 1)
    call('HSET', run.name, 'x_counted_of', call('HGET', run.name, 'created_at') or '')
  end

  function verdicts.ack()
    local ttl = run.how.keep
    local is_kept = ttl ~= 0
    free('successful_job_count')
    if run.x_attempt ~= '1' then call('HSET', run.name, 'x_counted_of', 'ended well') end
    if is_kept and not run.stays then
      call('HSET', run.name, 'status', 'finished', 'ended_at', stamp())
      run.registry, run.score = sweep.finished, ttl < 0 and '+inf' or whole(SECONDS + ttl)
    end
    if not run.stays then leave_behind(run.id, run.how.queue, 'failed', 'canceled', not is_kept and 'finished' or nil) end
    if is_kept then
      record('1', 'return_value', ttl)
    elseif run.stays or repetitions() > 0 then
      call('HSET', run.name, 'x_settled', mark())
      if not run.stays then call('HSET', run.name, 'ended_at', stamp()) end
    end
    free_dependents(true)
    if repeats() or run.stays then return end
    if is_kept then return keep(run.id, ttl, run) end
    forget_or_wait(run.id, run.how.queue, run.rate_limit_key, 'status', 'finished', 'ended_at', stamp(), 'x_settled', mark())
  end

  -- Fails as under RQ's worker without its default exception handler: the job is in no list, and neither its failure
  -- nor when it ended is kept.
  local function close_unlisted(status)
    leave_behind(run.id, run.how.queue, 'finished', 'failed', 'canceled')
    call('HSET', run.name, 'status', status, 'x_settled', mark())
    count('x_failures')
    if status == 'failed' then free_dependents(false) end
  end

  -- Fails, for good. While another run goes on, that one decides where the job stands.
  local function close(status, kind, field, ...)
    local ttl = run.how.keep
    free('failed_job_count')
    if run.how.unlisted and not run.stays then return close_unlisted(status) end
    if not run.stays then
      leave_behind(run.id, run.how.queue, 'finished', 'canceled', run.how.keep == 0 and 'failed' or nil)
    end
    if run.stays then
      call('HSET', run.name, 'x_settled', mark())
    elseif ttl ~= 0 then
      call('HSET', run.name, 'status', status, 'x_settled', mark(), ...)
      run.registry, run.score = sweep.failed, ttl < 0 and '-1' or whole(SECONDS + ttl)
    end
    count('x_failures')
    if ttl ~= 0 then record(kind, field, ttl) end
    if status == 'failed' then free_dependents(false) end
    if run.stays then return end
    if ttl ~= 0 then return keep(run.id, ttl, run) end
    forget_or_wait(run.id, run.how.queue, run.rate_limit_key, 'status', status, 'x_settled', mark(), ...)
  end

  function verdicts.bury() close('failed', '2', 'exc_string', 'ended_at', stamp()) end

  -- RQ leaves `ended_at` empty and lets dependents wait.
  function verdicts.stop() close('stopped', '2', 'exc_string') end

  -- A job returned RQ's `Retry` more often than that allows.
  function verdicts.exhaust() close('failed', '5', 'return_value', 'ended_at', stamp()) end

  function verdicts.forward()
    local to = run.how.to
    free()
    call('HSET', run.name, 'origin', to, 'x_settled', mark())
    wait_again(run.id, to, false)
  end

  function verdicts.retry()
    free('failed_job_count')
    local delay_ms, job = run.how.delay_ms, fields_of(run.id, { 'retries_left', 'enqueue_at_front_on_retry' })
    count('x_failures')
    local left = tonumber(job.retries_left or '')
    if left then call('HSET', run.name, 'retries_left', whole(math.max(left - 1, 0))) end
    call('HSET', run.name, 'ended_at', stamp(), 'x_settled', mark())
    record('2', 'exc_string', FAILURE_TTL)
    if delay_ms > 0 then
      wait_until(run.id, run.how.queue, delay_ms)
    else
      wait_again(run.id, run.how.queue, job.enqueue_at_front_on_retry == '1')
    end
  end

  -- A job returned RQ's `Retry`: none of the retries that it was enqueued with is spent, and no failure is counted
  -- but its worker's.
  function verdicts.again()
    free('failed_job_count')
    local job = fields_of(run.id, { 'number_of_retries', 'enqueue_at_front_on_retry', 'created_at' })
    local to_head = run.how.to_head or job.enqueue_at_front_on_retry == '1'
    call('HSET', run.name, 'number_of_retries', whole((tonumber(job.number_of_retries or '') or 0) + 1),
      'x_counted_of', job.created_at or '', 'ended_at', stamp(), 'x_settled', mark())
    if to_head then call('HSET', run.name, 'enqueue_at_front_on_retry', '1') end
    if run.how.keep ~= 0 then record('4', 'return_value', run.how.keep) end
    if run.how.delay_ms > 0 then
      wait_until(run.id, run.how.queue, run.how.delay_ms)
    else
      wait_again(run.id, run.how.queue, to_head)
    end
  end

  function verdicts.back()
    free()
    call('HSET', run.name, 'x_settled', mark())
    wait_again(run.id, run.how.queue, run.how.to_head)
  end

  function verdicts.rescue()
    free()
    count('x_orphaned')
    call('HSET', run.name, 'x_settled', mark())
    wait_again(run.id, run.how.queue, true)
  end

  -- The keys shared by the jobs of a queue, with their types.
  local COMMON = { queue = 'list', wip = 'zset', scheduled = 'zset', finished = 'zset', failed = 'zset' }

  local function is_other(name, wanted)
    -- A refusal in the middle of a call would have the ends before it written again and again.
    local is = redis.pcall('TYPE', name)
    if is.err then return name .. ': TYPE: ' .. is.err end
    return is.ok ~= 'none' and is.ok ~= wanted and name .. ': it is a ' .. is.ok .. ', not a ' .. wanted or nil
  end

  -- Queues that were checked in this call and are in order.
  local sound = {}

  local function spoiled(queue)
    if sound[queue] then return nil end
    for kind, wanted in pairs(COMMON) do
      local why = is_other(key(kind, queue), wanted)
      if why then return why end
    end
    local why = is_other(key('queues'), 'set') or is_other(ours('deliveries'), 'hash') or is_other(ours('releases'), 'hash')
    sound[queue] = not why
    return why
  end

  -- The same for the keys shared by the jobs of a rate limit.
  local function spoiled_limit(limit)
    return is_other(key('rl-keys'), 'set') or is_other(key('rl', limit), 'hash')
      or is_other(key('rl', limit, 'allowed'), 'zset') or is_other(key('rl', limit, 'rate_limited'), 'zset')
  end

  -- Whether such an end would be refused for every job; then returns what is refused, and why.
  local function refused_to_all(how)
    local refused = prove()[1]
    if refused then return refused[1] .. ': ' .. refused[2] end
    return spoiled(how.queue) or how.to and spoiled(how.to)
  end

  -- Why settlements of this call are held. A mark on their queue keeps all from starting to write an end before
  -- the cause is gone, because the part written before the refusal would be written in each attempt.
  local refusal
  local function hold_ends(queue, why)
    refusal = refusal or why
    try('SET', ours('held', queue), why, 'EX', 3600)
  end

  -- Keeps everything that shows the current job as running: drops deletions beyond these counts.
  local function hold_on(keys, deliveries)
    for i = #sweep.keys, keys + 1, -1 do sweep.keys[i] = nil end
    for i = #sweep.deliveries, deliveries + 1, -1 do sweep.deliveries[i] = nil end
    table.remove(sweep.wip[run.how.queue])
  end

  local function is_still_refused()
    local seen = {}
    for i = first + 2, last, 4 do
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
  local COUNTS = { 'x_failures', 'x_orphaned', 'retries_left', 'repeats_left', 'repeat_intervals', 'number_of_retries' }
  -- These put a job where others of its queue are, too.
  local MOVES = { retry = true, again = true, forward = true, back = true, rescue = true }

  -- A user cancelled it while it ran: the outcome is recorded, but its state is not changed. It is kept as long as one
  -- that was cancelled while it waited.
  local function canceled()
    free()
    call('HSET', run.name, 'x_settled', mark())
    if run.how.verdict == 'ack' and run.how.keep ~= 0 then
      unless_spoiled(record, '1', 'return_value', run.how.keep)
    end
    if not run.stays then keep(run.id, tonumber(call('HGET', run.name, 'failure_ttl') or '') or FAILURE_TTL) end
  end

  -- Frees what an ended job holds outside its own keys.
  local function give_back_what_it_held()
    if not run.rate_limit_key and not run.unique then return end
    local status = call('HGET', run.name, 'status') or ''
    if run.rate_limit_key and status ~= 'queued' and status ~= 'started' then
      give_place_back(run.rate_limit_key, run.id)
    end
    if run.unique and not OPEN[status] then let_key_go(run.unique, run.id) end
  end

  -- What the job's code has changed of its job holds from now on, and for this end.
  local function change()
    if run.stays or run.status == 'canceled' or run.how.unlisted then return end
    if run.how.changed then call('HSET', run.name, unpack(run.how.changed)) end
    if run.fields then call('HSET', run.name, unpack(run.fields)) end
  end

  local function write()
    change()
    -- What is asked afterwards is asked before anything moves, too: what is refused then would move twice.
    if run.rate_limit_key or run.unique then call('HGET', run.name, 'status') end
    if run.status == 'canceled' then canceled() else verdicts[run.how.verdict]() end
    give_back_what_it_held()
  end

  -- Keys of a job may have the wrong type; then only this job fails, with that reason. If every job would be
  -- refused, the settlement is held, and written when the caller repeats it. Answers whether it is written.
  local function conclude()
    local done, why, refused = false, nil, nil
    for i = 1, run.how.changed and #run.how.changed or 0, 2 do
      if run.how.changed[i] == 'repeats_left' then run.repeats_left = run.how.changed[i + 1] end
    end
    local moves, counts = MOVES[run.how.verdict] or repetitions() > 0, {}
    -- Releasing dependents needs the same keys as moving a job.
    if moves or is_waited_for or run.rate_limit_key then
      refused = spoiled(run.how.queue) or run.how.to and spoiled(run.how.to)
    end
    if moves and run.rate_limit_key then refused = refused or spoiled_limit(run.rate_limit_key) end
    if moves or run.how.verdict ~= 'ack' then counts = try('HMGET', run.name, unpack(COUNTS)) end
    if not refused then done, why = pcall(write) end
    if not done then
      refused = refused or refused_to_all(run.how)
      if refused then
        for i, count in ipairs(counts) do
          if count then try('HSET', run.name, COUNTS[i], count) else try('HDEL', run.name, COUNTS[i]) end
        end
        hold_ends(run.how.queue, refused)
        return false
      end
      call('HSET', run.name, 'status', 'failed', 'ended_at', stamp(), 'x_settled', mark(),
        'x_remark', 'its end could not be written: ' .. told(why))
      run.registry, run.score = sweep.failed, whole(SECONDS + FAILURE_TTL)
      live(run.name, FAILURE_TTL)
      give_back_what_it_held()
    end
    if done and (moves or run.stays) then tell() end
    if run.registry then later(run.registry, run.how.queue, run.score, run.id) end
    local remark = run.how.remark
    if remark and call('EXISTS', run.name) == 1 then call('HSET', run.name, 'x_remark', remark) end
    return true
  end

  local answers = {}
  even_when_full()
  if is_still_refused() then return redis.error_reply('REFUSED ' .. refusal) end
  local is_read, unread = pcall(read)
  if not is_read then
    for i = first + 2, last, 4 do
      local why = spoiled(how_of(ARGV[i]).queue)
      if why then return redis.error_reply('REFUSED ' .. why) end
    end
    error(unread, 0)
  end
  for place = 1, #members do
    local answer, keys, deliveries = 0, #sweep.keys, #sweep.deliveries
    if not let_go(place) then
      answer = how_it_ended()
    elseif is_ours() then
      answer = 1
      if not conclude() then hold_on(keys, deliveries) end
    else
      free()
      if not run.status then drop_remains(run.id) end
    end
    answers[place] = answer
  end
  answers[#answers + 1] = has_put_aside and 1 or 0

  -- First removals, then additions: a job whose end could not be written is listed as failed in any case.
  for registry, queues in pairs(sweep.left) do
    for queue, ids in pairs(queues) do try('ZREM', key(registry, queue), unpack(ids)) end
  end
  for _, registry in ipairs({ 'finished', 'failed' }) do
    for queue, entries in pairs(sweep[registry]) do call('ZADD', key(registry, queue), unpack(entries)) end
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
end
