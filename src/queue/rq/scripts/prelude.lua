-- Functions shared by all scripts. ARGV[1] is RQ's prefix, ARGV[2] ours. Times are of the server's clock.

local RQ, OURS = ARGV[1], ARGV[2]
local call = redis.call
-- For keys that only tools read: a wrong type there is no reason to lose a job.
local try = redis.pcall
local clock = call('TIME')
local SECONDS, MICROS = tonumber(clock[1]), tonumber(clock[2])
local MILLIS = SECONDS * 1000 + math.floor(MICROS / 1000)

-- RQ's own times, in seconds. RQ's idle workers report rarely and count as alive for 480 s. Ours report as
-- often as busy ones, so that their death is noticed as soon.
local RESULT_TTL, FAILURE_TTL, WORKER_TTL, DEAD_TTL = 500, 31536000, 90, 60

local function key(kind, name, part)
  if part then return RQ .. ':' .. kind .. ':' .. name .. ':' .. part end
  return name and RQ .. ':' .. kind .. ':' .. name or RQ .. ':' .. kind
end
local function ours(kind, name) return name and OURS .. ':' .. kind .. ':' .. name or OURS .. ':' .. kind end

-- A time in RQ's form, `micros` after now. Days are converted to dates with years that begin in March.
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

-- Seconds since the epoch with a fraction, as in executions and results.
local EPOCH = string.format('%d.%06d', SECONDS, MICROS)
local function epoch() return EPOCH end

-- Numbers without an exponent.
local function whole(number) return string.format('%d', number) end

-- The time when a key with `ttl` seconds to live expires. It is kept as text, because Redis would convert a
-- number, or compute the time from a span, for each key again.
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

-- An error as text; old and new servers pass it to `pcall` in different forms.
local function told(why) return type(why) == 'table' and why.err or tostring(why) end

local function is_of_type(why) return string.find(told(why), 'WRONGTYPE', 1, true) ~= nil end

-- Whether a key has another type than expected; any other refusal says nothing about the key.
local function is_something_else(answer)
  if type(answer) ~= 'table' or not answer.err then return false end
  if not is_of_type(answer) then error(answer.err, 0) end
  return true
end

-- Runs a secondary step; a key of the wrong type is ignored. Answers whether the step was done.
local function unless_spoiled(step, ...)
  local done, why = pcall(step, ...)
  if not done and not is_of_type(why) then error(why, 0) end
  return done
end

-- Reads a job; a key of another type counts as no job, so that it does not block others.
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

-- Queues that this call has added to RQ's set of queues.
local listed = {}

local function list_queue(queue)
  if listed[queue] then return end
  listed[queue] = true
  call('SADD', key('queues'), key('queue', queue))
end

-- The process, worker, time and queue of a delivery in our list. Users may name workers, also with blanks.
local function parted_lent(text) return string.match(text, '^(%S+) (.-) (%d+%.%d%d%d%d%d%d) (.*)$') end

-- The most bytes of jobs in one answer. Callers wait for seconds only, and a server or proxy may close the
-- connection for a larger answer; the jobs in it would be lent in vain, again and again.
local ANSWER = 512 * 1024
-- The same for an answer on the connection that all short calls share: any line carries it in their time.
local SHORT_ANSWER = 128 * 1024
-- The most bytes of a job that is taken without room for it.
local LIGHT = 64 * 1024
local function size_of(values)
  local size = 0
  for _, value in ipairs(values) do size = size + #value end
  return size
end

-- The most queues per check of non-urgent work. With more, each check takes others, and none takes long.
local QUEUES_AT_ONCE = 500
-- At most a thousand queues per script, so that other clients can be served. Returns those that the arguments
-- from `from` on name, or else the first of all; and the rest, for the next steps.
local function queues_of_step(from)
  local queues, rest = { unpack(ARGV, from) }, {}
  local first = #queues == 0
  if first then queues = call('SMEMBERS', key('queues')) end
  while #queues > 1000 do rest[#rest + 1] = table.remove(queues) end
  return queues, rest, first
end

local function some_queues() return call('SRANDMEMBER', key('queues'), QUEUES_AT_ONCE) end

-- Lets this script write although the server is at its memory limit. Redis then refuses only a script's first
-- write, if that may need memory; deleting a key that never exists needs none.
local function even_when_full() call('DEL', ours('nothing')) end

-- A moved job is added to its new place first and removed from the old one last, so that it is always in one
-- of them. Only here a job enters a queue.
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

-- Centuries count as for ever: Redis refuses times that are too far away.
local LONGEST = 1e10
-- What is kept of an ended job is deleted by `expire` when its time is over, and by the server so many seconds later, where
-- nobody does that. Only `expire` sees whether a client has enqueued the job again: RQ's clients leave its time to live.
local GRACE = 5
local function live(name, ttl)
  if ttl < 0 or ttl >= LONGEST then call('PERSIST', name) else call('PEXPIREAT', name, in_seconds(ttl + GRACE)) end
end

-- The keys that live and die with a job.
local function keys_of(id) return key('job', id), key('job', id, 'dependents'), RQ .. ':job::' .. id .. ':dependencies' end

-- An ended job, its dependents and its dependencies live equally long; -1 is for ever. Most jobs have neither.
local function keep(id, ttl, job)
  live(key('job', id), ttl)
  if job and job.waited_for then live(key('job', id, 'dependents'), ttl) end
  if not job or job.dependency_ids then live(RQ .. ':job::' .. id .. ':dependencies', ttl) end
end

-- A job that waits or runs lives until its end, whatever an earlier end has left of its time to live.
local function persist(id)
  for _, name in ipairs({ keys_of(id) }) do call('PERSIST', name) end
end

local function forget(id) call('DEL', key('results', id), keys_of(id)) end

-- A job is only in the registry of its last end; entries of earlier ends are removed. A key of the wrong type
-- lists nothing.
local function leave(queue, id, ...)
  for _, registry in ipairs({ ... }) do unless_spoiled(call, 'ZREM', key(registry, queue), id) end
end

-- Whether an entry of this registry is of the job's last end, according to its status and queue.
local ENDS = { finished = { finished = true }, failed = { failed = true, stopped = true }, canceled = { canceled = true } }
local function stands_in(registry, queue, id)
  local job = fields_of(id, { 'status', 'origin' })
  return ENDS[registry][job.status or ''] == true and (job.origin or queue) == queue
end

-- Whether a job, with the fields `job`, is still the one lent to `worker` at the time `made`; and whether
-- that was its last start. Name and microseconds identify a start. A job that was deleted and enqueued anew
-- counts its attempts anew, and began later for the first time; RQ's clients keep both fields when they
-- enqueue a job over the old one.
local function is_the_lent(job, worker, made)
  local has_begun = (job.started_at or '') ~= ''
  if job.worker_name == worker and string.sub(job.started_at or '', 21, 26) == string.sub(made, -6) then return true, true end
  if (tonumber(job.x_first_at or '') or 0) > tonumber(made) then return false, false end
  local begun_by_us = has_begun and string.match(job.worker_name or '', '^tikkun')
  local attempts = tonumber(job.x_attempt or '') or 0
  return attempts > (begun_by_us and 1 or 0), false
end

-- A delivery, restored from RQ's registries when our own list has lost it; an ended one is in neither. The
-- eviction or deletion of a key is no end of a job.
local function recalled(process, member, queue)
  if type(try('ZSCORE', key('wip', queue), member)) ~= 'string' then return nil end
  local execution = redis.pcall('HMGET', key('execution', member), 'worker_name', 'created_at')
  if is_something_else(execution) or not (execution[1] and execution[2]) then return nil end
  return table.concat({ process, execution[1], execution[2], queue }, ' ')
end

-- Whether any execution still holds a job. RQ keeps executions of dead workers in its list for a minute. One
-- counts if we have lent it, or if its worker still reports that it runs.
local function is_held(id)
  for _, execution in ipairs(try('ZRANGEBYSCORE', key('executions', id), whole(SECONDS), '+inf')) do
    local member = id .. ':' .. execution
    if call('EXISTS', key('execution', member)) == 1 or try('HEXISTS', ours('deliveries'), member) == 1 then return true end
  end
  return false
end

-- The registries in which an id may wait, though its status tells of a run of an entry that came first; those that are
-- there when the first id of a queue is asked for.
local registries = {}
local function registries_of(queue)
  if not registries[queue] then
    registries[queue] = {}
    for _, name in ipairs({ key('scheduled', queue), key('deferred', queue), key('ready', queue),
      key('scheduler', 'scheduled_jobs') }) do
      if call('EXISTS', name) == 1 then table.insert(registries[queue], name) end
    end
  end
  return registries[queue]
end

-- Whether an id lies in a queue. The server looks for the first few; for more the list is read once. At most so many
-- entries count.
local FIRST_OF_QUEUE, FEW = 10000, 10
local asked, lists = {}, {}
local function lies_in(queue, id)
  local name = key('queue', queue)
  asked[queue] = (asked[queue] or 0) + 1
  if asked[queue] <= FEW then
    local place = redis.pcall('LPOS', name, id, 'MAXLEN', FIRST_OF_QUEUE)
    return not is_something_else(place) and place ~= false
  end
  if not lists[queue] then
    local ids = redis.pcall('LRANGE', name, 0, FIRST_OF_QUEUE - 1)
    lists[queue] = {}
    for _, one in ipairs(is_something_else(ids) and {} or ids) do lists[queue][one] = true end
  end
  return lists[queue][id] == true
end

local function stands_among(name, id)
  local score = redis.pcall('ZSCORE', name, id)
  return not is_something_else(score) and score ~= false
end

-- Whether an entry of an id waits anywhere, `limit` being its rate limit, if it has one. RQ's own ids, which are UUIDs, lie in a
-- queue once.
local function waits_somewhere(id, queue, limit)
  if limit and stands_among(key('rl', limit, 'rate_limited'), id) then return true end
  for _, name in ipairs(registries_of(queue)) do
    if stands_among(name, id) then return true end
  end
  return not (#id == 36 and string.find(id, '^%x+%-%x+%-%x+%-%x+%-%x+$')) and lies_in(queue, id)
end

-- Deletes a job of which nothing is kept. If an entry of its id waits, its hash stays for that, with these fields, and goes
-- with the end of that run.
local function forget_or_wait(id, queue, limit, ...)
  if not waits_somewhere(id, queue, limit) then return forget(id) end
  call('HSET', key('job', id), ...)
  persist(id)
end

-- What is told of an entry whose job is gone: its id, why, and 1 if that is a loss, else 0. It is one if a registry still
-- lists an earlier end of the job.
local function told_of(id, queue)
  for _, registry in ipairs({ 'finished', 'failed' }) do
    if type(try('ZSCORE', key(registry, queue), id)) == 'string' then
      return { id, 'the time to live of its earlier end is over', 1 }
    end
  end
  return { id, 'the job is gone', 0 }
end

-- RQ 3's rate limits: a limit admits a number of jobs at a time. An admitted job waits in its queue or runs;
-- the others wait in a set of the limit, oldest first.

-- Admits waiting jobs while there is room; a limit without jobs is deleted. A job whose queue has a wrong
-- type goes on waiting, and does not block the others.
local function admit(limit)
  local name = key('rl', limit)
  local allowed, waiting = name .. ':allowed', name .. ':rate_limited'
  local room = (tonumber(call('HGET', name, 'concurrency') or '') or 0) - call('ZCARD', allowed)
  local passed = 0
  while room > 0 do
    local id = call('ZRANGE', waiting, passed, passed)[1]
    if not id then break end
    local job, done, why = fields_of(id, { 'status', 'origin', 'enqueue_at_front' }), true, nil
    -- A job that was cancelled or deleted meanwhile does not wait any more. Any other status tells of a run of an entry of
    -- its id that came first.
    if job.status and job.status ~= 'canceled' and job.origin then
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

-- Frees the place of a job that neither waits in its queue nor runs any more. The place is kept if the server
-- refuses to admit the next job, which would wait in vain.
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

-- The same at the end of a run of such a job. What the run has written under its id since, such as its progress, is
-- deleted with the last of its runs: no job is without all of these fields.
local function drop_remains(id)
  give_places_back(id)
  local found = redis.pcall('HMGET', key('job', id), 'status', 'data', 'created_at')
  if is_something_else(found) or found[1] or found[2] or found[3] or is_held(id) then return end
  call('DEL', key('job', id))
end

-- A job that has not begun expires after the time that its client asked for, counted from its enqueueing, as
-- in RQ. A job that has begun lives until its end.
local function live_until_it_begins(id, ttl, started_at)
  local seconds = tonumber(ttl or '') or 0
  if (started_at or '') ~= '' or seconds <= 0 or seconds >= LONGEST then return persist(id) end
  for _, name in ipairs({ keys_of(id) }) do call('PEXPIREAT', name, in_seconds(seconds)) end
end

-- Puts a job back into its queue, or in line for its limit. Its earlier attempts are kept.
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

-- The most dependents processed in one script; the rest is set aside and released in further steps.
local AT_ONCE = 100
local still_to_look_at, has_put_aside = AT_ONCE, false

-- A job that is put into its queue depends on none of these any more: a further end of one does not enqueue it again.
local function leave_dependencies(child, dependencies)
  for _, id in ipairs(dependencies) do
    unless_spoiled(call, 'SREM', key('job', id, 'dependents'), child)
    unless_spoiled(call, 'SREM', ours('release', id), child)
  end
end

-- Releases a dependent of `id`, which has ended `well` or not. As under RQ it is enqueued once every other dependency is
-- met, whatever its status is, unless it is canceled: an earlier entry of its id may run meanwhile. One that is ready is
-- being enqueued by a worker of RQ.
local function release(id, child, well)
  local job = as_table(hash_of(child))
  local lenient = job.allow_dependency_failures == '1'
  local is_out = not job.status or job.status == 'canceled' or job.status == 'ready_to_enqueue'
  if is_out or not job.origin or not (well or lenient) then return false end
  local others = {}
  for _, other in ipairs(call('SMEMBERS', RQ .. ':job::' .. child .. ':dependencies')) do
    if other ~= id then
      local status = status_of(other)
      if status and status ~= 'finished' and not (lenient and status == 'failed') then return false end
      others[#others + 1] = other
    end
  end
  -- Nothing may be put into a queue if it could not be removed here.
  leave(job.origin, '', 'deferred')
  leave_dependencies('', { id })
  wait_again(child, job.origin, job.enqueue_at_front == '1')
  leave(job.origin, child, 'deferred')
  leave_dependencies(child, others)
  return true
end

-- Releases the dependents of `id`, or sets them aside under a name that later steps find.
local function release_dependents(id, well, job)
  local name, aside, list = key('job', id, 'dependents'), ours('release', id), ours('releases')
  local count, in_steps = call('SCARD', name), call('HEXISTS', list, id) == 1
  if job then job.waited_for = count > 0 end
  if count <= still_to_look_at and not in_steps then
    still_to_look_at = still_to_look_at - count
    for _, child in ipairs(count > 0 and call('SMEMBERS', name) or {}) do
      -- A wrong type of a dependent's keys is not this job's fault, and does not block the other dependents.
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

-- A lost process gives up its roles.
local function forfeit(process)
  for _, role in ipairs(call('SMEMBERS', ours('roles'))) do
    if call('HGET', ours('role', role), 'holder') == process then call('HSET', ours('role', role), 'until', '0') end
  end
end

-- The duration of a process's lease, in milliseconds; nil if unknown, as from older versions.
local function ttl_of(process)
  local read, record = pcall(cjson.decode, call('HGET', ours('processes'), process) or '')
  return read and type(record) == 'table' and tonumber(record.ttl_ms) or nil
end

-- For how long none of our processes has reached the server, in milliseconds.
local function silence_of_all()
  local last = tonumber(call('GET', ours('heard')) or '')
  return last and MILLIS - last or 0
end

-- Whether a silence was so long that what RQ's workers run may look abandoned: they report every 30 s, and each report
-- holds for at least as long. Live processes of ours with leases of `ttl` are heard in half of that.
local function keeps_reports(silence, ttl) return silence > math.max(30000, ttl / 2) end

-- Records that the server can be reached. After a silence of half of `ttl`, leases may have expired because
-- nobody could renew them; live processes then get the duration of a lease to renew. A caller that has had no
-- lease yet passes 0, and the duration of each lease counts.
local function heard(ttl)
  local silence = silence_of_all()
  call('SET', ours('heard'), whole(MILLIS))
  if keeps_reports(silence, ttl) then call('SET', ours('reports'), '1', 'PX', '150000') end
  if silence <= ttl / 2 then return end
  local until_then = MILLIS + (ttl > 0 and ttl or silence)
  for _, process in ipairs(call('ZRANGEBYSCORE', ours('leases'), '-inf', whole(until_then))) do
    local span = ttl > 0 and ttl or ttl_of(process) or 0
    if span > 0 and silence > span / 2 then call('ZADD', ours('leases'), whole(MILLIS + span), process) end
  end
end

-- After a failover to a server whose clock is behind, leases reach too far into the future: they are cut to
-- the duration that their process asked for. Leases of unknown duration, as from older versions, are not
-- changed.
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

-- The statuses of a job that can still run.
local OPEN = { queued = true, scheduled = true, started = true, deferred = true, ready_to_enqueue = true, rate_limited = true }

-- Whether a job's client gave it the time that it has left. `ttl` alone does not tell: it may be of an earlier enqueueing,
-- and not every client gives the key that time. The end that a registry lists gave it until the time of its entry, or a
-- little longer; the client, `ttl` seconds from when it created or enqueued the job. The clocks may differ by two seconds.
-- No entry says when the time of a cancellation is over.
local function is_its_clients(id, job, over)
  local ttl = tonumber(job.ttl or '') or 0
  if ttl <= 0 or ttl >= LONGEST then return false end
  local left = call('PTTL', key('job', id))
  local beyond = over and (MILLIS + left) / 1000 - over or 0
  if beyond < -2 or beyond > GRACE + 2 then return true end
  local asked_at, given = job.created_at or '', (left - math.floor(ttl * 1000)) * 1000
  if (job.enqueued_at or '') > asked_at then asked_at = job.enqueued_at end
  return asked_at >= stamp(given - 2000000) and asked_at <= stamp(given + 2000000)
end

-- Takes what is left of an earlier end's time to live from a job that runs or waits again, and answers whether it does. RQ's
-- clients leave that time where it is, unless they give the job one of its own.
local function live_on(registry, queue, id)
  local job = fields_of(id, { 'status', 'ttl', 'created_at', 'enqueued_at', 'rate_limit_key' })
  local waits = OPEN[job.status or '']
    or (job.status and job.status ~= 'canceled' and waits_somewhere(id, queue, job.rate_limit_key))
  if not waits then return false end
  local over = registry ~= 'canceled' and (tonumber(call('ZSCORE', key(registry, queue), id) or '') or 0)
  if not is_its_clients(id, job, over) then persist(id) end
  return true
end

-- The same for a job that lies in line, where no registry tells of that end any more: a client that enqueues a cancelled job
-- again, and RQ's requeue, leave its time there. What is no longer than `ttl` is its client's.
local function wait_on(id)
  local left = call('PTTL', key('job', id))
  if left < 0 then return end
  local job = fields_of(id, { 'status', 'ttl' })
  if job.status ~= 'canceled' and left > (tonumber(job.ttl or '') or 0) * 1000 then persist(id) end
end

-- Drops an entry of a registry of ended jobs, and with it the job, unless that runs or waits again, or has ended otherwise.
local function drop_end(registry, queue, id)
  if not live_on(registry, queue, id) and stands_in(registry, queue, id) and not is_held(id) then forget(id) end
  call('ZREM', key(registry, queue), id)
end

-- The other job that holds a unique key; nil if none does.
local function holder_of(unique, id)
  local held = as_table(call('HGETALL', ours('unique', unique)))
  if not held.job or held.job == id then return nil end
  local open = OPEN[status_of(held.job) or '']
  if open or (tonumber(held['until'] or '') or 0) > MILLIS then return held.job end
  return nil
end

-- The job has ended or is gone: deletes its key, or keeps it to the end of its period.
local function let_key_go(unique, id)
  local name = ours('unique', unique)
  local held = redis.pcall('HMGET', name, 'job', 'until')
  if is_something_else(held) or held[1] ~= id then return end
  local until_ms = tonumber(held[2] or '') or 0
  if until_ms > MILLIS then call('PEXPIREAT', name, whole(until_ms)) else call('DEL', name) end
end

-- Holds a key: while its job is open, and until the period has passed.
local function hold(unique, id, period_ms)
  local name = ours('unique', unique)
  local until_ms = period_ms and MILLIS + period_ms or 0
  call('HSET', name, 'job', id, 'until', whole(until_ms))
  call('PERSIST', name)
end

-- Enqueues one job with a flat list of fields. Answers 1: done; 0: the id exists; or the key's holder.
local function enqueue(id, queue, how, fields)
  local name = key('job', id)
  if call('EXISTS', name) == 1 then return 0 end
  if how.unique then
    local holder = holder_of(how.unique, id)
    if holder then return holder end
  end
  -- The times of jobs of one call differ by a microsecond, so that they are listed in order.
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

-- Reads jobs from ARGV, beginning at `first`: id, queue, options as JSON, the number of fields, the fields.
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

