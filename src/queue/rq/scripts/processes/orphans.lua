-- Deliveries of processes without a lease, at most ARGV[3]. Processes whose lease has run out are lost, and with nothing
-- left they are forgotten; a lost process leads nothing.
-- [4]: how long a lease holds, in milliseconds, 0 when that is not known; then for each process whose lease is over, because it
-- is known to be dead or was watched standing still, its name and its record: another process under its name, and one that
-- has renewed its lease since, have another record.
-- Answers for each: execution, process, queue, id, hash; and for each that could not be looked after, why. What does not fit
-- into an answer is left for the next look, but for the first.

even_when_full()
heard(tonumber(ARGV[4]))

local function lose(process)
  call('SADD', ours('lost'), process)
  call('ZREM', ours('leases'), process)
  forfeit(process)
end
-- Whoever is lost is on a list. Of whom there is neither a loss nor a lease, that was evicted or deleted: they get the time of
-- a lease to say that they live.
local function believe(lent, ttl)
  local known = {}
  for _, process in ipairs(call('SMEMBERS', ours('lost'))) do known[process] = true end
  for i = 2, #lent, 2 do
    local process = string.match(lent[i], '^%S+')
    if process and not known[process] then
      local span = ttl > 0 and ttl or ttl_of(process) or 0
      if span > 0 then call('ZADD', ours('leases'), 'NX', whole(MILLIS + span), process) end
      known[process] = true
    end
  end
end

for i = 5, #ARGV, 2 do
  local record = call('ZSCORE', ours('leases'), ARGV[i]) and (call('HGET', ours('processes'), ARGV[i]) or '')
  if record == ARGV[i + 1] then lose(ARGV[i]) end
end
clamp_leases(tonumber(ARGV[4]))
for _, process in ipairs(call('ZRANGEBYSCORE', ours('leases'), '-inf', whole(MILLIS))) do lose(process) end
local max, found, busy, troubles, room = tonumber(ARGV[3]), {}, {}, {}, ANSWER
local lent = call('HGETALL', ours('deliveries'))
believe(lent, tonumber(ARGV[4]))
for i = 1, #lent, 2 do
  local process, worker, made, queue = string.match(lent[i + 1], '^(%S+) (%S+) (%S+) (.*)$')
  busy[process] = true
  if #found < max and not call('ZSCORE', ours('leases'), process) then
    local id, execution = string.match(lent[i], '^(.*):([^:]*)$')
    local hash, held = hash_of(id), try('ZSCORE', key('wip', queue), lent[i])
    local job = as_table(hash)
    local is_same, began_last = is_the_lent(job, worker, made)
    if type(held) == 'table' then
      -- It stays where it is: nobody can tell whether it is still held.
      troubles[#troubles + 1] = queue .. ': ' .. told(held)
    elseif #hash == 0 or not is_same or not (held or (began_last and job.status == 'started')) then
      -- Deleted, put in anew, or given up by another's maintenance: there is nothing to bring back.
      call('HDEL', ours('deliveries'), lent[i])
      call('ZREM', key('wip', queue), lent[i])
      call('DEL', key('execution', lent[i]))
      try('ZREM', key('executions', id), execution)
      if #hash == 0 then give_places_back(id) end
    else
      local size = size_of(hash)
      if #found == 0 or size <= room then found[#found + 1] = { execution, process, queue, id, hash } end
      room = room - size
    end
  end
end
for _, process in ipairs(call('SMEMBERS', ours('lost'))) do
  if not busy[process] then
    call('SREM', ours('lost'), process)
    call('HDEL', ours('processes'), process)
  end
end
return { found, troubles }
