-- Restores the lost data of a process: its lease, its queues, its running jobs. ARGV[3]: process; [4]: its
-- record; [5]: milliseconds; [6]: queues, separated by commas; then for each job execution, worker, id,
-- queue, the number of its fields, the fields. Existing data is not changed. Answers id and queue of each
-- restored job.

local process, now, beat, back, fresh = ARGV[3], stamp(), epoch(), {}, {}
even_when_full()
call('ZADD', ours('leases'), 'NX', whole(MILLIS + tonumber(ARGV[5])), process)
call('HSETNX', ours('processes'), process, ARGV[4])
for queue in string.gmatch(ARGV[6], '[^,]+') do list_queue(queue) end

local i = 7
while ARGV[i] do
  local execution, worker, id, queue, count = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], tonumber(ARGV[i + 4])
  local name, member, fields = key('job', id), id .. ':' .. execution, {}
  for field = 1, count do fields[field] = ARGV[i + 4 + field] end
  -- An id may have several executions at a time.
  if fresh[id] or call('EXISTS', name) == 0 then
    fresh[id] = true
    local job = as_table(fields)
    local timeout = tonumber(job.timeout or '') or 180
    local ttl = (timeout > 0 and math.min(timeout, 30) or 30) + 60
    list_queue(queue)
    call('ZADD', key('wip', queue), whole(SECONDS + ttl), member)
    call('HSET', ours('deliveries'), member, table.concat({ process, worker, beat, queue }, ' '))
    call('HSET', name, unpack(fields))
    call('HSET', name, 'status', 'started', 'started_at', now, 'last_heartbeat', now, 'worker_name', worker,
      'x_attempt', whole((tonumber(job.x_attempt or '') or 0) + 1))
    call('HSET', key('execution', member), 'id', execution, 'job_id', id, 'created_at', beat, 'last_heartbeat', beat,
      'worker_name', worker)
    call('EXPIRE', key('execution', member), ttl)
    call('ZADD', key('executions', id), whole(SECONDS + ttl + 60), execution)
    call('EXPIRE', key('executions', id), ttl + 60)
    back[#back + 1] = { id, queue }
  end
  i = i + 5 + count
end
return back
