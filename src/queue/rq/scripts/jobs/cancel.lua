-- Takes a waiting job out. ARGV[3]: id. Answers the status it has afterwards; nothing when there is no such job. What was
-- refused of it the last time is done the next.

local id = ARGV[3]
local name = key('job', id)
local job = as_table(hash_of(id))
if not job.status then return false end
local waits = { queued = true, scheduled = true, deferred = true, rate_limited = true }
local once_more = job.status == 'canceled' and not is_held(id)
if not waits[job.status] and not once_more then return job.status end
even_when_full()
-- Marked first: whatever is refused afterwards, nobody runs it.
if not once_more then
  if job.origin then call('ZADD', key('canceled', job.origin), whole(SECONDS), id) end
  call('HSET', name, 'status', 'canceled', 'ended_at', stamp())
end
call('HDEL', name, 'x_due')
-- Of a job that does not say where it waits the entry stays, and whoever takes it drops it.
job.origin = job.origin or ''
if job.status == 'queued' or once_more then
  -- Looked for from the end that it is nearer to: the middle of the list was put in before it or after it.
  local queue = key('queue', job.origin)
  local middle = call('LINDEX', queue, math.floor(call('LLEN', queue) / 2))
  local is_newer = middle and (job.enqueued_at or '') > (fields_of(middle, { 'enqueued_at' }).enqueued_at or '')
  call('LREM', queue, is_newer and -1 or 1, id)
end
call('ZREM', key('scheduled', job.origin), id)
call('ZREM', key('deferred', job.origin), id)
leave(job.origin, id, 'finished', 'failed')
if job.rate_limit_key then
  call('ZREM', key('rl', job.rate_limit_key, 'rate_limited'), id)
  give_place_back(job.rate_limit_key, id)
end
if job.x_unique then let_key_go(job.x_unique, id) end
keep(id, tonumber(job.failure_ttl or '') or FAILURE_TTL)
return 'canceled'
