-- Cancels a waiting job. ARGV[3]: id. Answers its status afterwards, or nothing if there is no such job.
-- Steps refused in an earlier call are repeated.

local id = ARGV[3]
local name = key('job', id)
local job = as_table(hash_of(id))
if not job.status then return false end
local waits = { queued = true, scheduled = true, deferred = true, rate_limited = true }
local once_more = job.status == 'canceled' and not is_held(id)
if not waits[job.status] and not once_more then return job.status end
even_when_full()
-- Marked first: even if later steps are refused, the job is not run.
if not once_more then
  if job.origin then call('ZADD', key('canceled', job.origin), whole(SECONDS), id) end
  call('HSET', name, 'status', 'canceled', 'ended_at', stamp())
end
call('HDEL', name, 'x_due')
-- If the job does not name its queue, its entry stays, and is dropped when it is taken.
job.origin = job.origin or ''
if job.status == 'queued' or job.status == 'rate_limited' or once_more then
  -- Searched from the nearer end: the middle of the list was enqueued before or after it.
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
