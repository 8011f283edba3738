-- Takes jobs from the head of a queue. They are registered and marked as started before they leave it, so that whatever the
-- server refuses half-way, no job is in no list. As under RQ, what is taken is run, whatever its status says and whoever else
-- runs it, unless its hash is gone or it was canceled.
-- From ARGV[at] on: queue; process; whether the whole hash of each job is asked for; the weight of the first job, for
-- which alone the caller has room, or 0 for light jobs; then for each free slot an execution and a worker.
-- Answers: the time; the names of the fields; the ids of the jobs taken, in the order of the slots; the fields of each;
-- the ids that stood for nothing that can be run; for each id that was dropped, why, and 1 if that is a loss, else 0; and
-- the whole hash of each job taken, if that is asked for: then its fields are those alone that count otherwise than they
-- stand there; and the weight of the job that is first now if it was left for that, else 0.
local function take(at)
  local NAMES = { 'status', 'data', 'timeout', 'x_attempt', 'success_callback_name', 'failure_callback_name',
    'stopped_callback_name', 'origin', 'created_at', 'enqueued_at', 'meta', 'result_ttl', 'failure_ttl', 'retries_left',
    'retry_intervals', 'x_failures', 'x_orphaned', 'number_of_retries', 'webhooks',
    'success_callback_timeout', 'failure_callback_timeout', 'stopped_callback_timeout' }
  -- So many are looked up for every job, the others only for one that names a callback.
  local ALWAYS = 19

  local queue, process, now, beat = ARGV[at], ARGV[at + 1], stamp(), epoch()
  local JOB, EXECUTION, EXECUTIONS, WORKER = key('job', ''), key('execution', ''), key('executions', ''), key('worker', '')
  local lease = call('ZSCORE', ours('leases'), process)
  local held_back = call('EXISTS', key('suspended')) == 1 or call('HEXISTS', ours('paused'), queue) == 1
  if held_back or not lease or tonumber(lease) <= MILLIS then return { now, NAMES, {}, {}, {}, {}, {}, 0 } end

  local with_hash, slots, used = ARGV[at + 2] == '1', (#ARGV - at - 3) / 2, 0
  local taken, known, broken, dropped, hashes = {}, {}, {}, {}, {}
  -- The workers of a process are registered together, and run out together.
  local registered = slots > 0 and call('EXISTS', key('worker', ARGV[at + 5])) == 1

  -- How long keys live without a heartbeat. Most jobs of a call have the same timeout.
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

  -- Whether the counts in the hash are of earlier runs and start over: the job was enqueued again or succeeded.
  local function counts_anew(name, fields)
    local of = fields[4] and call('HGET', name, 'x_counted_of')
    return of and of ~= (fields[9] or '')
  end

  -- The entry of a job for the slot `used`. Each of several executions of one id is its own attempt.
  local attempts = {}
  local function entry_of(id, name, fields, hash)
    local execution, worker = ARGV[at + 4 + used * 2], ARGV[at + 5 + used * 2]
    if attempts[id] then fields[4] = attempts[id] end
    local attempt = fields[4] and whole((tonumber(fields[4]) or 0) + 1) or '1'
    attempts[id] = attempt
    local is_anew = counts_anew(name, fields)
    if is_anew then fields[16], fields[17], fields[18] = false, false, false end
    -- Code in another language reads how many retries it has asked for there.
    for i = 1, is_anew and hash and #hash or 0, 2 do
      if hash[i] == 'number_of_retries' then
        table.remove(hash, i)
        table.remove(hash, i)
        break
      end
    end
    local is_moved = fields[8] ~= queue
    fields[8] = queue
    local was, timeout = fields[1], fields[3] or ''
    if with_hash then
      local none = is_anew and '0'
      fields = { false, false, false, fields[4], false, false, false, queue, false, false, false, false, false, false, false,
        none, none, none }
    end
    -- What is missing at the end need not be said.
    for i = #NAMES, 1, -1 do
      if fields[i] then break end
      fields[i] = nil
    end
    used = used + 1
    taken[used], known[used] = id, fields
    return { id = id, name = name, was = was, execution = execution, member = id .. ':' .. execution, worker = worker,
      attempt = attempt, is_moved = is_moved, is_anew = is_anew, span = span_of(timeout) }
  end

  -- Registers and marks the jobs at the head of the queue, and removes that many ids. After a refusal
  -- everything is undone, and all of them wait as before.
  local function lend(entries, count)
    local wip, lent, members, beside = {}, {}, {}, {}
    for i, entry in ipairs(entries) do
      wip[2 * i - 1], wip[2 * i] = entry.span.wip, entry.member
      lent[2 * i - 1], lent[2 * i] = entry.member, process .. ' ' .. entry.worker .. ' ' .. beat .. ' ' .. queue
      members[i] = entry.member
      local _, dependents, dependencies = keys_of(entry.id)
      beside[2 * i - 1], beside[2 * i] = dependents, dependencies
    end
    local done, why = pcall(function()
      if #entries > 0 then
        call('ZADD', key('wip', queue), unpack(wip))
        call('HSET', ours('deliveries'), unpack(lent))
      end
      for _, entry in ipairs(entries) do
        call('HSET', entry.name, 'status', 'started', 'started_at', now, 'last_heartbeat', now, 'worker_name', entry.worker,
          'x_attempt', entry.attempt)
        -- Executions from before this time belong to another job that had its id.
        if entry.attempt == '1' then call('HSET', entry.name, 'x_first_at', beat) end
        -- It belongs to the queue from which it was taken; there it is listed at its end and searched for.
        if entry.is_moved then call('HSET', entry.name, 'origin', queue) end
        if entry.is_anew then call('HDEL', entry.name, 'x_failures', 'x_orphaned', 'x_counted_of', 'number_of_retries') end
        call('PERSIST', entry.name)
      end
      -- Nor do these die of an earlier end while it runs. Most jobs have neither.
      if #beside > 0 and call('EXISTS', unpack(beside)) > 0 then
        for _, name in ipairs(beside) do call('PERSIST', name) end
      end
      call('LPOP', key('queue', queue), count)
    end)
    if done then return end
    if #entries > 0 then
      try('ZREM', key('wip', queue), unpack(members))
      try('HDEL', ours('deliveries'), unpack(members))
      for _, entry in ipairs(entries) do try('HSET', entry.name, 'status', entry.was or 'queued') end
    end
    error(why, 0)
  end

  -- Keys for RQ's tools. A wrong type there does not prevent the job from running.
  local function show(entry)
    local execution_key, executions, mine = EXECUTION .. entry.member, EXECUTIONS .. entry.id, WORKER .. entry.worker
    local span = entry.span
    try('HSET', execution_key, 'id', entry.execution, 'job_id', entry.id, 'created_at', beat, 'last_heartbeat', beat,
      'worker_name', entry.worker)
    try('PEXPIREAT', execution_key, span.execution)
    try('ZADD', executions, span.entry, entry.execution)
    try('PEXPIREAT', executions, span.list)
    if registered then
      try('HSET', mine, 'state', 'busy', 'current_job', entry.id)
      try('SADD', mine .. ':executions', entry.member)
      try('PEXPIREAT', mine .. ':executions', span.list)
    end
  end

  -- Whether an id is text, as all ids of RQ are; another could not be passed on. The check replaces every valid
  -- character beyond ASCII by a blank; the rest must be ASCII.
  local BEYOND_ASCII = { '[\194-\223]', '\224[\160-\191]', '[\225-\236\238\239][\128-\191]', '\237[\128-\159]',
    '\240[\144-\191][\128-\191]', '[\241-\243][\128-\191][\128-\191]', '\244[\128-\143][\128-\191]' }
  local function is_text(id)
    if not string.find(id, '[\128-\255]') then return true end
    for _, beginning in ipairs(BEYOND_ASCII) do id = string.gsub(id, beginning .. '[\128-\191]', ' ') end
    return not string.find(id, '[\128-\255]')
  end

  -- The fields of a job, by the places of their names, and its whole hash, if that is asked for.
  local function read(name)
    if not with_hash then return try('HMGET', name, unpack(NAMES, 1, ALWAYS)) end
    local flat = try('HGETALL', name)
    if flat.err then return flat end
    local hash, fields = as_table(flat), {}
    for i, field in ipairs(NAMES) do fields[i] = hash[field] or false end
    return fields, flat
  end

  local function is_named(field) return field and field ~= '' end

  -- Sorts the ids at the head by what happens to them, changing nothing; as many as fit into the answer. Answers
  -- their number, too.
  local expected, left = tonumber(ARGV[at + 3]), 0
  local room = math.max(SHORT_ANSWER, expected)
  local function look(ids)
    local entries, gone = {}, {}
    for place, id in ipairs(ids) do
      local name = JOB .. id
      local told = is_text(id) and id or string.gsub(id, '[\128-\255]', '?')
      local fields, hash = { 'no text' }, nil
      if told == id then fields, hash = read(name) end
      local odd = is_something_else(fields)
      if not hash and (is_named(fields[5]) or is_named(fields[6]) or is_named(fields[7])) then
        for i, time in ipairs(call('HMGET', name, unpack(NAMES, ALWAYS + 1))) do fields[ALWAYS + i] = time end
      end
      if fields[1] == 'canceled' then
        dropped[#dropped + 1] = { id, 'it was canceled', 0 }
      elseif fields[2] then
        -- The payload, what the enqueuer noted, and webhooks; the other fields are short.
        local size = hash and size_of(hash) or #fields[2] + #(fields[11] or '') + #(fields[19] or '')
        local is_heavy = size > LIGHT
        if is_heavy and size ~= expected then left = size end
        if left > 0 or size > room or expected > 0 and not is_heavy then return entries, gone, place - 1 end
        room = room - size
        entries[#entries + 1] = entry_of(id, name, fields, hash)
        hashes[#hashes + 1] = hash
      elseif odd or fields[1] then
        broken[#broken + 1] = told
      else
        dropped[#dropped + 1] = told_of(id, queue)
        gone[#gone + 1] = id
      end
    end
    return entries, gone, #ids
  end

  -- Very many ids that cannot be run, such as expired jobs after a weekend, are removed in steps.
  local AT_ONCE, looked = 1000, 0
  while used < slots and looked < AT_ONCE do
    local ids = call('LRANGE', key('queue', queue), 0, slots - used - 1)
    if #ids == 0 then break end
    looked = looked + #ids
    even_when_full()
    local entries, gone, count = look(ids)
    if count == 0 then break end
    lend(entries, count)
    for _, entry in ipairs(entries) do show(entry) end
    for _, id in ipairs(gone) do pcall(give_places_back, id) end
    if count < #ids then break end
  end
  return { now, NAMES, taken, known, broken, dropped, hashes, left }
end
