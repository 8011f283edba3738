-- Says that workers and what they run are alive. ARGV[3]: process; [4…]: names of its workers.
-- Answers the executions that the process holds no longer by RQ's registries.

even_when_full()
local now, beat, lost = stamp(), epoch(), {}
local suspended = call('EXISTS', key('suspended')) == 1
for i = 4, #ARGV do
  local name = key('worker', ARGV[i])
  if call('EXISTS', name) == 1 and call('HEXISTS', name, 'death') == 0 then
    call('HSET', name, 'last_heartbeat', now)
    if suspended and call('HEXISTS', name, 'current_job') == 0 then
      call('HSET', name, 'state', 'suspended')
    elseif call('HGET', name, 'state') == 'suspended' then
      call('HSET', name, 'state', 'idle')
    end
    call('EXPIRE', name, WORKER_TTL)
  end
end
local lent = call('HGETALL', ours('deliveries'))
for i = 1, #lent, 2 do
  local process, worker, made, queue = string.match(lent[i + 1], '^(%S+) (%S+) (%S+) (.*)$')
  if process == ARGV[3] then
    local member = lent[i]
    local id, execution = string.match(member, '^(.*):([^:]*)$')
    local fields = fields_of(id, { 'status', 'timeout', 'worker_name', 'started_at', 'x_attempt' })
    if fields.status and is_the_lent(fields, worker, made) and call('ZSCORE', key('wip', queue), member) then
      local timeout = tonumber(fields.timeout or '') or 180
      local ttl = (timeout > 0 and math.min(timeout, 30) or 30) + 60
      call('ZADD', key('wip', queue), 'XX', whole(SECONDS + ttl), member)
      call('HSET', key('job', id), 'last_heartbeat', now)
      -- The end of another run of it may have given it a time to live.
      call('PERSIST', key('job', id))
      if call('EXISTS', key('execution', member)) == 1 then
        call('HSET', key('execution', member), 'last_heartbeat', beat)
        call('EXPIRE', key('execution', member), ttl)
      end
      try('ZADD', key('executions', id), 'XX', whole(SECONDS + ttl + 60), execution)
      call('EXPIRE', key('executions', id), ttl + 60)
      local busy = key('worker', worker)
      if call('EXISTS', busy) == 1 and call('HEXISTS', busy, 'current_job') == 0 then
        -- Registered anew while it worked.
        call('HSET', busy, 'state', 'busy', 'current_job', id)
        call('SADD', key('worker', worker, 'executions'), member)
      end
      call('EXPIRE', key('worker', worker, 'executions'), ttl + 60)
    else
      lost[#lost + 1] = execution
    end
  end
end
return lost
