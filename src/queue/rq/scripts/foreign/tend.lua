-- Takes care of jobs that foreign workers abandoned, as RQ's own maintenance does, in queues whose registries
-- no RQ worker is cleaning at the moment. It is all one step, so RQ's lock is not needed to keep others from
-- doing the same. ARGV[3]: how many entries of each list are checked; [4]: the grace period of the
-- intermediate list in milliseconds; [5]: the error for an abandoned job; [6]: for a stuck one; [7]: the duration of a
-- lease in milliseconds, 0 if unknown. Answers for
-- each moved job: id, queue, fate, the name and time limit of its failure callback, and the text of its failure with what
-- its webhooks need, if it failed and has some; and the error of each queue that failed.

local LOOK, GRACE, ABANDONED, STUCK = tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5], ARGV[6]
local touched, troubles = {}, {}

-- When the server is back in reach, live workers report first. Their reports may come two minutes later than our calls,
-- because packets that were lost are sent again ever more rarely.
if call('EXISTS', ours('reports')) == 1 or keeps_reports(silence_of_all(), tonumber(ARGV[7])) then
  return { touched, troubles }
end

local WANTED = { 'status', 'retries_left', 'retry_intervals', 'enqueue_at_front_on_retry', 'failure_ttl', 'dependency_ids',
  'x_failures', 'worker_name', 'failure_callback_name', 'failure_callback_timeout', 'enqueued_at',
  'rate_limit_key', 'x_unique', 'x_counted_of', 'created_at', 'webhooks' }

local function tell(id, queue, fate, job, webhooks)
  touched[#touched + 1] = { id, queue, fate, job.failure_callback_name or '', job.failure_callback_timeout or '', webhooks or {} }
end

-- RQ's rule: the list from its end, by the number of retries left before this one is used up.
local function interval(job, left)
  local read, list = pcall(cjson.decode, job.retry_intervals or '[]')
  if not read or type(list) ~= 'table' then return 0 end
  return tonumber(list[math.max(#list - left, 0) + 1]) or 0
end

-- If another execution still holds the job, that one decides the job's state.
local function fail(id, queue, job, text)
  local keep_for, stays = tonumber(job.failure_ttl or '') or FAILURE_TTL, is_held(id)
  if keep_for >= LONGEST then keep_for = -1 end
  release_dependents(id, false, job)
  if not stays then
    leave(queue, id, 'finished', 'canceled')
    if job.x_unique then let_key_go(job.x_unique, id) end
    if keep_for == 0 then return forget_or_wait(id, queue, job.rate_limit_key, 'status', 'failed', 'ended_at', stamp()) end
    call('ZADD', key('failed', queue), keep_for < 0 and '-1' or whole(SECONDS + keep_for), id)
    call('HSET', key('job', id), 'status', 'failed', 'ended_at', stamp())
  end
  if keep_for ~= 0 then
    try('XADD', key('results', id), 'MAXLEN', '10', '*', 'type', '2', 'worker_name', '', 'exc_string', text)
    live(key('results', id), keep_for)
  end
  if not stays then keep(id, keep_for, job) end
end

-- A job that had begun: retried if it has retries left, else failed, as in RQ. It is moved first and counted
-- afterwards, because a refused step is repeated in each check and must not use up a retry each time.
local function give_up(id, queue, job, text)
  local stays, made = is_held(id), job.created_at or ''
  -- Counts of earlier runs do not concern this one.
  local before = (job.x_counted_of or made) == made and tonumber(job.x_failures or '') or 0
  local failures = whole(before + 1)
  local left = tonumber(job.retries_left or '') or 0
  if left > 0 then
    local wait = interval(job, left)
    stays = stays or wait == 0
    if wait == 0 then wait_again(id, queue, job.enqueue_at_front_on_retry == '1') else wait_until(id, queue, wait * 1000) end
    call('HSET', key('job', id), 'retries_left', whole(left - 1), 'ended_at', stamp(), 'x_failures', failures, 'x_counted_of', made)
    tell(id, queue, 'retried', job)
  else
    local webhooks = {}
    if (job.webhooks or '') ~= '' and not stays then
      webhooks = { text, job.webhooks, call('HGET', key('job', id), 'data') or '', job.enqueued_at or '' }
    end
    fail(id, queue, job, text)
    if call('EXISTS', key('job', id)) == 1 then call('HSET', key('job', id), 'x_failures', failures, 'x_counted_of', made) end
    tell(id, queue, 'failed', job, webhooks)
  end
  if job.rate_limit_key and not stays then give_place_back(job.rate_limit_key, id) end
end

local function bring_back(id, queue, job)
  push(queue, id, true)
  tell(id, queue, 'returned', job)
end

-- The id and the execution in a member. RQ 1 has only the id. An id may contain a colon: if the job in front
-- of the colon is gone, the member is no execution of it.
local function parted(member)
  if call('EXISTS', key('job', member)) == 1 then return member end
  local id, execution = string.match(member, '^(.*):([^:]*)$')
  -- RQ's executions are 32 hexadecimal digits, and so are ours.
  if id and #execution == 32 and not string.find(execution, '%X') then return id, execution end
  return member
end

-- Whether a worker still reports that it runs this, by the server's clock: otherwise the execution or the
-- worker's hash would have expired.
local function is_alive(member, id, execution, job)
  if execution then return call('EXISTS', key('execution', member)) == 1 end
  local worker = call('HMGET', key('worker', job.worker_name or ''), 'state', 'current_job', 'death')
  return worker[1] == 'busy' and worker[2] == id and not worker[3]
end

-- Whether an RQ worker serves a queue, and so maintains it.
local served = {}
local function is_served_by_rq(queue)
  if served[queue] == nil then
    served[queue] = false
    for _, worker in ipairs(try('SRANDMEMBER', key('workers', queue), LOOK)) do
      local is_ours = string.find(worker, key('worker', 'tikkun'), 1, true) == 1
      if not is_ours and call('EXISTS', worker) == 1 and try('HEXISTS', worker, 'death') == 0 then served[queue] = true end
    end
  end
  return served[queue]
end

-- Whether a begun job is left to RQ's own maintenance, because only an RQ worker may know the function of its
-- failure callback. RQ checks every ten minutes, and is given 15 minutes.
local RQS_TURN = 900
local function is_left_to_rq(queue, member, job)
  if job.status ~= 'started' or (job.failure_callback_name or '') == '' then return false end
  local since = tonumber(call('ZSCORE', key('wip', queue), member))
  return SECONDS - since <= RQS_TURN and is_served_by_rq(queue)
end

-- An entry that fails does not block the others.
local function each(queue, entries, look)
  for _, entry in ipairs(entries) do
    local done, why = pcall(look, queue, entry)
    if not done then troubles[#troubles + 1] = queue .. ': ' .. told(why) end
  end
end

-- The registry entry is removed last: if something is refused before, the next check finds it again.
local function abandoned(queue, member)
  local id, execution = parted(member)
  local job = fields_of(id, WANTED)
  -- For jobs lent to our processes, the leases decide.
  if call('HEXISTS', ours('deliveries'), member) == 1 or is_alive(member, id, execution, job) then return end
  if is_left_to_rq(queue, member, job) then return end
  -- It does not hold its job any more; others may.
  if execution then try('ZREM', key('executions', id), execution) end
  if job.status == 'started' then
    give_up(id, queue, job, ABANDONED)
  elseif job.status == 'scheduled' and not call('ZSCORE', key('scheduled', queue), id) then
    -- Its worker died between two steps of a retry: the retry is not used up yet.
    give_up(id, queue, job, ABANDONED)
  elseif job.status == 'queued' and not call('LPOS', key('queue', queue), id) then
    -- Registered, but never begun.
    bring_back(id, queue, job)
  end
  call('LREM', key('queue', queue, 'intermediate'), 1, id)
  if execution then try('SREM', key('worker', job.worker_name or '', 'executions'), member) end
  call('ZREM', key('wip', queue), member)
end

local function started(queue)
  each(queue, call('ZRANGEBYSCORE', key('wip', queue), 0, whole(SECONDS), 'LIMIT', 0, LOOK), abandoned)
end

-- Ids that a worker popped and never registered. RQ fails them; since they have not begun, we return them to
-- the head. We measure how long one stays by our own mark, because RQ's mark of its first check is kept when
-- the id comes back.
local function intermediate(queue)
  local list, seen = key('queue', queue, 'intermediate'), ours('seen', queue)
  local ids = call('LRANGE', list, 0, LOOK - 1)
  local known = as_table(call('HGETALL', seen))
  call('DEL', seen)
  -- Nothing may be put into a queue if it could not be removed here.
  call('LREM', list, 1, '')
  for i = #ids, 1, -1 do
    local id = ids[i]
    local job = fields_of(id, WANTED)
    local runs = call('ZSCORE', key('wip', queue), id) or call('EXISTS', key('executions', id)) == 1
    local since, of = string.match(known[id] or '', '^(%d+) (.*)$')
    if not job.status then
      call('LREM', list, 1, id)
    elseif not runs and (not since or of ~= (job.enqueued_at or '')) then
      call('HSET', seen, id, whole(MILLIS) .. ' ' .. (job.enqueued_at or ''))
    elseif not runs and MILLIS - tonumber(since) < GRACE then
      call('HSET', seen, id, known[id])
    elseif not runs then
      if job.status == 'queued' then
        bring_back(id, queue, job)
      elseif job.status == 'started' then
        give_up(id, queue, job, STUCK)
      elseif job.status ~= 'canceled' then
        -- Its status is of another execution or an earlier end; this entry must run all the same.
        wait_again(id, queue, true)
        tell(id, queue, 'returned', job)
      end
      call('LREM', list, 1, id)
      call('DEL', key('queue', queue, 'intermediate') .. ':first_seen:' .. id)
    end
  end
end

-- Jobs of RQ 3 whose last dependency ended, and whose worker died before it enqueued them.
local function make_ready(queue, id)
  local job = fields_of(id, { 'status', 'enqueue_at_front' })
  if job.status == 'ready_to_enqueue' then
    wait_again(id, queue, job.enqueue_at_front == '1')
    tell(id, queue, 'returned', job)
  end
  call('ZREM', key('ready', queue), id)
end

local function ready(queue)
  each(queue, call('ZRANGEBYSCORE', key('ready', queue), 0, whole(SECONDS - 10), 'LIMIT', 0, LOOK), make_ready)
end

-- RQ never cleans this registry; deferred jobs with a time to live vanish without a trace.
local function deferred(queue)
  for _, id in ipairs(call('ZRANDMEMBER', key('deferred', queue), LOOK)) do
    if call('EXISTS', key('job', id)) == 0 then call('ZREM', key('deferred', queue), id) end
  end
end

local function workers(...)
  local register = key('workers', ...)
  for _, name in ipairs(call('SRANDMEMBER', register, LOOK)) do
    if call('EXISTS', name) == 0 then
      call('SREM', register, name)
      call('SREM', key('workers'), name)
    end
  end
end

-- A key of the wrong type affects only its own queue.
local function look_after(queue)
  for _, step in ipairs({ started, intermediate, ready, deferred, workers }) do
    local done, why = pcall(step, queue)
    if not done then troubles[#troubles + 1] = queue .. ': ' .. told(why) end
  end
end

for _, full in ipairs(some_queues()) do
  local queue = string.sub(full, #key('queue', '') + 1)
  if #touched < LOOK and call('EXISTS', key('clean_registries', queue)) == 0 then look_after(queue) end
end
workers()
return { touched, troubles }
