-- What the scripts share. ARGV[1] is RQ's prefix, ARGV[2] ours. Time is the server's own.

local RQ, OURS = ARGV[1], ARGV[2]
local call = redis.call
-- For a list that is there for readers alone: what else lies under its name is no reason to lose a job.
local try = redis.pcall
local clock = call('TIME')
local SECONDS, MICROS = tonumber(clock[1]), tonumber(clock[2])
local MILLIS = SECONDS * 1000 + math.floor(MICROS / 1000)

-- RQ's own spans, in seconds. Its idle workers speak so seldom that they are believed for 480; ours are killed as quickly as
-- busy ones, and seen to be gone as quickly.
local RESULT_TTL, FAILURE_TTL, WORKER_TTL, DEAD_TTL = 500, 31536000, 90, 60

local function key(kind, name, part)
  if part then return RQ .. ':' .. kind .. ':' .. name .. ':' .. part end
  return name and RQ .. ':' .. kind .. ':' .. name or RQ .. ':' .. kind
end
local function ours(kind, name) return name and OURS .. ':' .. kind .. ':' .. name or OURS .. ':' .. kind end

-- RQ's form of a time; `micros` later than now. Days become dates by the usual shift to a year that begins in March.
local stamps = {}
local function stamp(micros)
  local known = stamps[micros or 0]
  if known then return known end
  local all = MICROS + (micros or 0)
  local seconds = SECONDS + math.floor(all / 1000000)
  local day, second = math.floor(seconds / 86400) + 719468, seconds % 86400
  local era = math.floor(day / 146097)
  local of_era = day - era * 146097
  local year = math.floor((of_era - math.floor(of_era / 1460) + math.floor(of_era / 36524)
    - math.floor(of_era / 146096)) / 365)
  local of_year = of_era - (365 * year + math.floor(year / 4) - math.floor(year / 100))
  local march = math.floor((5 * of_year + 2) / 153)
  local month = march < 10 and march + 3 or march - 9
  year = year + era * 400 + (month <= 2 and 1 or 0)
  local made = string.format('%04d-%02d-%02dT%02d:%02d:%02d.%06dZ', year, month,
    of_year - math.floor((153 * march + 2) / 5) + 1,
    math.floor(second / 3600), math.floor(second / 60) % 60, second % 60, all % 1000000)
  stamps[micros or 0] = made
  return made
end

-- Seconds since the epoch with a fraction, as executions and results have it.
local EPOCH = string.format('%d.%06d', SECONDS, MICROS)
local function epoch() return EPOCH end

-- Numbers without an exponent.
local function whole(number) return string.format('%d', number) end

-- When something that lives for `ttl` seconds dies. As the text of a moment: Redis would write a number out, and make a moment
-- of a span, for each key anew.
local deaths = {}
local function in_seconds(ttl)
  local known = deaths[ttl]
  if not known then
    known = string.format('%.0f', MILLIS + ttl * 1000)
    deaths[ttl] = known
  end
  return known
end

local function as_table(flat)
  local found = {}
  for i = 1, #flat, 2 do found[flat[i]] = flat[i + 1] end
  return found
end

-- An error as text, as servers of both generations hand it to `pcall`.
local function told(why) return type(why) == 'table' and why.err or tostring(why) end

local function is_of_type(why) return string.find(told(why), 'WRONGTYPE', 1, true) ~= nil end

-- Whether a key holds something else than was looked for; any other refusal to read it has not said that there is nothing.
local function is_something_else(answer)
  if type(answer) ~= 'table' or not answer.err then return false end
  if not is_of_type(answer) then error(answer.err, 0) end
  return true
end

-- Does what is done beside a job: that something else lies under a name is no reason to leave the rest undone. Answers
-- whether it was done.
local function unless_spoiled(step, ...)
  local done, why = pcall(step, ...)
  if not done and not is_of_type(why) then error(why, 0) end
  return done
end

-- A job is read so that one under whose name there is no hash is none, and holds nobody else up.
local function hash_of(id)
  local hash = redis.pcall('HGETALL', key('job', id))
  return is_something_else(hash) and {} or hash
end

local function fields_of(id, names)
  local values, job = redis.pcall('HMGET', key('job', id), unpack(names)), {}
  if is_something_else(values) then return job end
  for i, field in ipairs(names) do job[field] = values[i] or nil end
  return job
end

local function status_of(id) return fields_of(id, { 'status' }).status end

-- Queues that this call has put on the list by which every reader finds them.
local listed = {}

local function list_queue(queue)
  if listed[queue] then return end
  listed[queue] = true
  call('SADD', key('queues'), key('queue', queue))
end

-- So many bytes of jobs go into one answer. Whoever asks waits for seconds, and a server, or what lies between, may end the
-- connection that asks for more; what was lent in such an answer would be lent for nothing, and again and again.
local ANSWER = 512 * 1024
local function size_of(values)
  local size = 0
  for _, value in ipairs(values) do size = size + #value end
  return size
end

-- The queues of one look at what is not urgent. Where there are very many each look takes others, and holds up nobody for long.
local QUEUES_AT_ONCE = 500
-- Of very many queues a thousand are looked at in one script: then others have their turn. Those that the arguments name from
-- `from` on, or else the first of all; and the rest, for the next steps.
local function queues_of_step(from)
  local queues, rest = { unpack(ARGV, from) }, {}
  local first = #queues == 0
  if first then queues = call('SMEMBERS', key('queues')) end
  while #queues > 1000 do rest[#rest + 1] = table.remove(queues) end
  return queues, rest, first
end

local function some_queues() return call('SRANDMEMBER', key('queues'), QUEUES_AT_ONCE) end

-- Lets this script write on a server that is at its memory limit. There Redis refuses a script's first write if that may
-- need memory, and no later one: deleting a key that there never is counts as a write that needs none.
local function even_when_full() call('DEL', ours('nothing')) end

-- Where a job moves it is put to its new place first and taken from the old one last: whatever is refused in between, it is
-- in one of them.
-- This is the one place at which a job comes into a queue.
local function push(queue, id, to_head)
  list_queue(queue)
  call(to_head and 'LPUSH' or 'RPUSH', key('queue', queue), id)
end

-- The same, and sets fields of its hash, both or neither.
local function push_as(queue, id, to_head, ...)
  push(queue, id, to_head)
  local done, why = pcall(call, 'HSET', key('job', id), ...)
  if not done then
    try('LREM', key('queue', queue), to_head and 1 or -1, id)
    error(why, 0)
  end
end

-- A span of centuries is for ever: Redis refuses moments that are far enough away.
local LONGEST = 1e10
local function live(name, ttl)
  if ttl < 0 or ttl >= LONGEST then call('PERSIST', name) else call('PEXPIREAT', name, in_seconds(ttl)) end
end

-- Job, its dependents and its dependencies live equally long; -1 is for ever. Most jobs have neither.
local function keep(id, ttl, job)
  live(key('job', id), ttl)
  if job and job.waited_for then live(key('job', id, 'dependents'), ttl) end
  if not job or job.dependency_ids then live(RQ .. ':job::' .. id .. ':dependencies', ttl) end
end

local function forget(id)
  call('DEL', key('job', id), key('job', id, 'dependents'), RQ .. ':job::' .. id .. ':dependencies',
    key('results', id))
end

-- A job stands in the registry of its last end alone; what an earlier end left behind goes. In one that is something else
-- nothing is listed.
local function leave(queue, id, ...)
  for _, registry in ipairs({ ... }) do unless_spoiled(call, 'ZREM', key(registry, queue), id) end
end

-- Whether an entry of this registry is that of the job's last end: its status and its queue say so.
local ENDS = { finished = { finished = true }, failed = { failed = true, stopped = true }, canceled = { canceled = true } }
local function stands_in(registry, queue, id)
  local job = fields_of(id, { 'status', 'origin' })
  return ENDS[registry][job.status or ''] == true and (job.origin or queue) == queue
end

-- Whether a job, as `job` tells, still is the one that was lent to `worker` at the moment `made`; and whether that was its
-- last start. The name and the microseconds tell a start. One that was deleted and put in anew counts its attempts anew,
-- and began later for the first time; clients of RQ leave both alone when they put it in over the old one.
local function is_the_lent(job, worker, made)
  local has_begun = (job.started_at or '') ~= ''
  if job.worker_name == worker and string.sub(job.started_at or '', 21, 26) == string.sub(made, -6) then return true, true end
  if (tonumber(job.x_first_at or '') or 0) > tonumber(made) then return false, false end
  local begun_by_us = has_begun and string.match(job.worker_name or '', '^tikkun')
  local attempts = tonumber(job.x_attempt or '') or 0
  return attempts > (begun_by_us and 1 or 0), false
end

-- What is lent, as RQ's registers tell it where our own list has lost it: what is over is on neither. An evicted key, or one
-- that an operator has deleted, is no end of a job.
local function recalled(process, member, queue)
  if type(try('ZSCORE', key('wip', queue), member)) ~= 'string' then return nil end
  local execution = redis.pcall('HMGET', key('execution', member), 'worker_name', 'created_at')
  if is_something_else(execution) or not (execution[1] and execution[2]) then return nil end
  return table.concat({ process, execution[1], execution[2], queue }, ' ')
end

-- Whether any execution still holds a job. RQ leaves those of dead workers on its list for a minute after it has given them
-- up: one counts that we have lent, or whose worker still says that it runs.
local function is_held(id)
  for _, execution in ipairs(try('ZRANGEBYSCORE', key('executions', id), whole(SECONDS), '+inf')) do
    local member = id .. ':' .. execution
    if call('EXISTS', key('execution', member)) == 1 or try('HEXISTS', ours('deliveries'), member) == 1 then return true end
  end
  return false
end

-- RQ 3's rate limits: a limit admits so many jobs at a time. One that is admitted waits in its queue or runs; the others wait in
-- a set of the limit's own, oldest first.

-- Admits waiting jobs while there is room; a limit without jobs is forgotten. One whose queue is something else waits on,
-- and nobody waits for it.
local function admit(limit)
  local name = key('rl', limit)
  local allowed, waiting = name .. ':allowed', name .. ':rate_limited'
  local room = (tonumber(call('HGET', name, 'concurrency') or '') or 0) - call('ZCARD', allowed)
  local passed = 0
  while room > 0 do
    local id = call('ZRANGE', waiting, passed, passed)[1]
    if not id then break end
    local job, done, why = fields_of(id, { 'status', 'origin', 'enqueue_at_front' }), true, nil
    -- One that was canceled or deleted meanwhile waits no longer.
    if job.status == 'rate_limited' and job.origin then
      call('ZADD', allowed, epoch(), id)
      done, why = pcall(push_as, job.origin, id, job.enqueue_at_front == '1', 'status', 'queued', 'enqueued_at', stamp())
      if done then room = room - 1 else call('ZREM', allowed, id) end
    end
    if done then
      call('ZREM', waiting, id)
    elseif is_of_type(why) then
      passed = passed + 1
    else
      error(why, 0)
    end
  end
  if call('EXISTS', allowed, waiting) == 0 then
    call('SREM', key('rl-keys'), limit)
    call('DEL', name)
  end
end

-- Gives back the place of a job that neither waits in its queue nor runs any more. It keeps it while the server refuses to
-- admit the next, who would wait in vain.
local function give_place_back(limit, id)
  unless_spoiled(function()
    local allowed = key('rl', limit, 'allowed')
    local place = call('ZSCORE', allowed, id)
    if not place then return end
    call('ZREM', allowed, id)
    local done, why = pcall(admit, limit)
    if done then return end
    if not is_of_type(why) then try('ZADD', allowed, place, id) end
    error(why, 0)
  end)
end

-- The same for a job whose hash is gone, and with it the name of its limit.
local function give_places_back(id)
  local limits = redis.pcall('SMEMBERS', key('rl-keys'))
  if is_something_else(limits) then return end
  for _, limit in ipairs(limits) do give_place_back(limit, id) end
end

-- A job that has not begun lives no longer than its client asked for, from when it comes into its queue, as RQ has it; any
-- other until its end.
local function live_until_it_begins(id, ttl, started_at)
  local seconds = tonumber(ttl or '') or 0
  if (started_at or '') == '' and seconds > 0 and seconds < LONGEST then
    keep(id, seconds, { dependency_ids = true })
  else
    call('PERSIST', key('job', id))
  end
end

-- Waits in its queue again, or for a place under its limit if it has none: what it did before stays on record.
local function wait_again(id, queue, to_head)
  local name = key('job', id)
  local limit, most, ttl, started_at =
    unpack(call('HMGET', name, 'rate_limit_key', 'rate_limit_concurrency', 'ttl', 'started_at'))
  call('HDEL', name, 'x_due')
  live_until_it_begins(id, ttl, started_at)
  if not limit or not most or call('ZSCORE', key('rl', limit, 'allowed'), id) then
    push_as(queue, id, to_head, 'status', 'queued', 'enqueued_at', stamp())
    return
  end
  call('SADD', key('rl-keys'), limit)
  call('HSET', key('rl', limit), 'concurrency', most)
  call('ZADD', key('rl', limit, 'rate_limited'), epoch(), id)
  call('HSET', name, 'status', 'rate_limited')
  if to_head then call('HSET', name, 'enqueue_at_front', '1') end
  admit(limit)
end

local function wait_until(id, queue, delay_ms)
  local due = math.ceil((MILLIS + delay_ms) / 1000)
  list_queue(queue)
  call('ZADD', key('scheduled', queue), whole(due), id)
  call('HSET', key('job', id), 'status', 'scheduled', 'x_due', whole(MILLIS + delay_ms))
end

-- So many dependents are looked at in one script; where there are more, the rest is put aside and let go in further steps.
local AT_ONCE = 100
local still_to_look_at, has_put_aside = AT_ONCE, false

-- Lets one go that waited for `id`, which has ended `well` or not. It waits no longer when every other dependency is met,
-- and its own status still says that it waits.
local function release(id, child, well)
  local job = as_table(hash_of(child))
  local lenient = job.allow_dependency_failures == '1'
  if job.status ~= 'deferred' or not job.origin or not (well or lenient) then return false end
  for _, other in ipairs(call('SMEMBERS', RQ .. ':job::' .. child .. ':dependencies')) do
    local status = other ~= id and status_of(other)
    if status and status ~= 'finished' and not (lenient and status == 'failed') then return false end
  end
  wait_again(child, job.origin, job.enqueue_at_front == '1')
  call('ZREM', key('deferred', job.origin), child)
  return true
end

-- Lets go those that waited for `id`, or puts them aside under a name that whoever comes by finds.
local function release_dependents(id, well, job)
  local name, aside, list = key('job', id, 'dependents'), ours('release', id), ours('releases')
  local count, in_steps = call('SCARD', name), call('HEXISTS', list, id) == 1
  if job then job.waited_for = count > 0 end
  if count <= still_to_look_at and not in_steps then
    still_to_look_at = still_to_look_at - count
    for _, child in ipairs(count > 0 and call('SMEMBERS', name) or {}) do
      -- What lies around one of them is no fault of the job, and keeps none of the others.
      unless_spoiled(function()
        if release(id, child, well) then call('SREM', name, child) end
      end)
    end
    return
  end
  has_put_aside = true
  call('HSET', list, id, well and '1' or '0')
  if in_steps then
    call('SUNIONSTORE', aside, aside, name)
    call('DEL', name)
  else
    call('RENAME', name, aside)
    call('PERSIST', aside)
  end
  if job then job.waited_for = false end
end

-- A process that is lost leads nothing.
local function forfeit(process)
  for _, role in ipairs(call('SMEMBERS', ours('roles'))) do
    if call('HGET', ours('role', role), 'holder') == process then call('HSET', ours('role', role), 'until', '0') end
  end
end

-- For how long a process takes its lease, in milliseconds; nil where it does not say, as those of older versions.
local function ttl_of(process)
  local read, record = pcall(cjson.decode, call('HGET', ours('processes'), process) or '')
  return read and type(record) == 'table' and tonumber(record.ttl_ms) or nil
end

-- Somebody's word that the server can be reached. When there was none for half of `ttl`, leases may have run out because
-- nobody could renew them: who lives gets the time of a lease to say so. Whoever has had no lease yet, and so says 0, goes by
-- the time of each.
local function heard(ttl)
  local last = tonumber(call('GET', ours('heard')) or '')
  call('SET', ours('heard'), whole(MILLIS))
  local silence = last and MILLIS - last or 0
  if silence <= ttl / 2 then return end
  local until_then = MILLIS + (ttl > 0 and ttl or silence)
  for _, process in ipairs(call('ZRANGEBYSCORE', ours('leases'), '-inf', whole(until_then))) do
    local span = ttl > 0 and ttl or ttl_of(process) or 0
    if span > 0 and silence > span / 2 then call('ZADD', ours('leases'), whole(MILLIS + span), process) end
  end
end

-- After a failover to a server whose clock is behind, leases reach further than any was given: from now on they hold for
-- as long as their process asked for, and no longer. One that does not say, as those of older versions, is left alone.
local function clamp_leases(ttl)
  if ttl <= 0 then return end
  for _, process in ipairs(call('ZRANGEBYSCORE', ours('leases'), '(' .. whole(MILLIS + ttl), '+inf')) do
    local its_own = ttl_of(process)
    local most = its_own and MILLIS + its_own
    if most and tonumber(call('ZSCORE', ours('leases'), process)) > most then
      call('ZADD', ours('leases'), whole(most), process)
    end
  end
end

-- Whether a job can still run.
local OPEN = { queued = true, scheduled = true, started = true, deferred = true, ready_to_enqueue = true, rate_limited = true }

-- The other job that holds a unique key; nil when none does.
local function holder_of(unique, id)
  local held = as_table(call('HGETALL', ours('unique', unique)))
  if not held.job or held.job == id then return nil end
  local open = OPEN[status_of(held.job) or '']
  if open or (tonumber(held['until'] or '') or 0) > MILLIS then return held.job end
  return nil
end

-- The job has ended or is gone: its key goes, too, or lives to the end of its period.
local function let_key_go(unique, id)
  local name = ours('unique', unique)
  local held = redis.pcall('HMGET', name, 'job', 'until')
  if is_something_else(held) or held[1] ~= id then return end
  local until_ms = tonumber(held[2] or '') or 0
  if until_ms > MILLIS then call('PEXPIREAT', name, whole(until_ms)) else call('DEL', name) end
end

-- Holds a key: by its job while that is open, and by the time for the period.
local function hold(unique, id, period_ms)
  local name = ours('unique', unique)
  local until_ms = period_ms and MILLIS + period_ms or 0
  call('HSET', name, 'job', id, 'until', whole(until_ms))
  call('PERSIST', name)
end

-- Puts one job in. `fields` is a flat list for its hash. 1: it waits; 0: its id is there; or the holder of its key.
local function enqueue(id, queue, how, fields)
  local name = key('job', id)
  if call('EXISTS', name) == 1 then return 0 end
  if how.unique then
    local holder = holder_of(how.unique, id)
    if holder then return holder end
  end
  -- Jobs of one call are a microsecond apart, so that they can be listed in their order.
  local made = stamp(how.place)
  if how.delay_ms and how.delay_ms > 0 then
    wait_until(id, queue, how.delay_ms)
    call('HSET', name, 'created_at', made, 'origin', queue, unpack(fields))
  else
    push_as(queue, id, how.to_head, 'created_at', made, 'origin', queue, 'status', 'queued', 'enqueued_at', made,
      unpack(fields))
  end
  if how.unique then
    hold(how.unique, id, how.period_ms)
    call('HSET', name, 'x_unique', how.unique)
  end
  return 1
end

-- Reads jobs out of ARGV from `first` on: id, queue, how as JSON, the number of fields, the fields.
local function enqueue_all(first)
  local answers = {}
  while ARGV[first] do
    local count, fields = tonumber(ARGV[first + 3]), {}
    for i = 1, count do fields[i] = ARGV[first + 3 + i] end
    local how = cjson.decode(ARGV[first + 2])
    answers[#answers + 1] = enqueue(ARGV[first], ARGV[first + 1], how, fields)
    first = first + 4 + count
  end
  return answers
end

