-- Deliveries of processes without a lease, at most ARGV[3]. Processes whose lease has run out are lost, and with nothing
-- left they are forgotten; a lost process leads nothing.
-- [4]: how long a lease holds, in milliseconds, 0 when that is not known.
-- Answers for each: execution, process, queue, id, hash.

heard(tonumber(ARGV[4]))
for _, process in ipairs(call('ZRANGEBYSCORE', ours('leases'), '-inf', whole(MILLIS))) do
  call('ZREM', ours('leases'), process)
  call('SADD', ours('lost'), process)
  forfeit(process)
end
local max, found, busy = tonumber(ARGV[3]), {}, {}
local lent = call('HGETALL', ours('deliveries'))
for i = 1, #lent, 2 do
  local process, worker, made, queue = string.match(lent[i + 1], '^(%S+) (%S+) (%S+) (.*)$')
  busy[process] = true
  if #found < max and not call('ZSCORE', ours('leases'), process) then
    local id, execution = string.match(lent[i], '^(.*):([^:]*)$')
    local hash = hash_of(id)
    local job = as_table(hash)
    local is_same, began_last = is_the_lent(job, worker, made)
    local is_out = call('ZSCORE', key('wip', queue), lent[i]) or (began_last and job.status == 'started')
    if #hash == 0 or not is_same or not is_out then
      -- Deleted, put in anew, or given up by another's maintenance: there is nothing to bring back.
      call('HDEL', ours('deliveries'), lent[i])
      call('ZREM', key('wip', queue), lent[i])
      call('DEL', key('execution', lent[i]))
      try('ZREM', key('executions', id), execution)
      if #hash == 0 then give_places_back(id) end
    else
      found[#found + 1] = { execution, process, queue, id, hash }
    end
  end
end
for _, process in ipairs(call('SMEMBERS', ours('lost'))) do
  if not busy[process] then
    call('SREM', ours('lost'), process)
    call('HDEL', ours('processes'), process)
  end
end
return found
