-- Lists deliveries of processes without a lease, at most ARGV[3]. Processes whose lease has expired are lost,
-- and are forgotten once they have no deliveries; a lost process gives up its roles.
-- [4]: the duration of a lease in milliseconds, 0 if unknown; [5]: the most bytes of a large job that the
-- caller waits for; [6]: how many executions follow that the caller leaves to others and is not sent again; then name
-- and record of each process whose lease is over because it is dead or was watched without a renewal. If the record
-- differs, another process has the name, or the lease was renewed since.
-- Answers for each: execution, process, queue, id, hash; the error of each that failed; the size of the largest delivery
-- that did not fit into the answer, else 0: it is left to the next check; and those of [6] that are still there.

even_when_full()
heard(tonumber(ARGV[4]))

local function lose(process)
  call('SADD', ours('lost'), process)
  call('ZREM', ours('leases'), process)
  forfeit(process)
end
-- Lost processes are in a list. If a process has neither an entry there nor a lease, that was evicted or
-- deleted; it gets the duration of a lease to renew.
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

-- Whether a process has a lease. Each is asked for once, however many deliveries it has.
local leased = {}
local function has_lease(process)
  if leased[process] == nil then leased[process] = call('ZSCORE', ours('leases'), process) and true or false end
  return leased[process]
end

local left, standing = {}, {}
for i = 7, 6 + tonumber(ARGV[6]) do left[ARGV[i]] = true end
for i = 7 + tonumber(ARGV[6]), #ARGV, 2 do
  local record = call('ZSCORE', ours('leases'), ARGV[i]) and (call('HGET', ours('processes'), ARGV[i]) or '')
  if record == ARGV[i + 1] then lose(ARGV[i]) end
end
clamp_leases(tonumber(ARGV[4]))
for _, process in ipairs(call('ZRANGEBYSCORE', ours('leases'), '-inf', whole(MILLIS))) do lose(process) end
local max, found, busy, troubles = tonumber(ARGV[3]), {}, {}, {}
local room, most, too_large = ANSWER, tonumber(ARGV[5]), 0
local lent = call('HGETALL', ours('deliveries'))
believe(lent, tonumber(ARGV[4]))
-- From another place each time: what is left to others, or too large, hides none of the rest for good.
local from = #lent > 0 and (MICROS % (#lent / 2)) * 2 or 0
for n = 0, #lent - 2, 2 do
  local i = (n + from) % #lent + 1
  local process, worker, made, queue = parted_lent(lent[i + 1])
  busy[process] = true
  local id, execution = string.match(lent[i], '^(.*):([^:]*)$')
  if left[execution] and call('EXISTS', key('job', id)) == 1 then
    standing[#standing + 1] = execution
  elseif #found < max and not has_lease(process) then
    local hash, held = hash_of(id), try('ZSCORE', key('wip', queue), lent[i])
    local job = as_table(hash)
    local is_same, began_last = is_the_lent(job, worker, made)
    if type(held) == 'table' then
      -- It stays where it is, because it is unknown whether it is still held.
      troubles[#troubles + 1] = queue .. ': ' .. told(held)
    elseif #hash == 0 or not is_same or not (held or (began_last and job.status == 'started')) then
      -- Deleted, enqueued anew, or given up by foreign maintenance: there is nothing to rescue.
      call('HDEL', ours('deliveries'), lent[i])
      call('ZREM', key('wip', queue), lent[i])
      call('DEL', key('execution', lent[i]))
      try('ZREM', key('executions', id), execution)
      if not job.status then drop_remains(id) end
    else
      local size = size_of(hash)
      local is_large = size > ANSWER
      local fits = is_large and size <= most or not is_large and size <= room
      if fits then found[#found + 1] = { execution, process, queue, id, hash } end
      -- One that is large comes beside those that are not.
      if not fits then
        too_large = math.max(too_large, size)
      elseif is_large then
        most = 0
      else
        room = room - size
      end
    end
  end
end
for _, process in ipairs(call('SMEMBERS', ours('lost'))) do
  if not busy[process] then
    call('SREM', ours('lost'), process)
    call('HDEL', ours('processes'), process)
  end
end
return { found, troubles, too_large, standing }
