-- Puts failed and cancelled jobs back at the tail of their queues. ARGV[3…]: ids. Answers for each: 1, or its
-- status, or empty if it is gone, or `!` and the other job that holds its key.

local answers = {}
for i = 3, #ARGV do
  local id = ARGV[i]
  local job = as_table(hash_of(id))
  -- A job that does not name its queue is not changed.
  local ended = (job.status == 'failed' or job.status == 'stopped' or job.status == 'canceled') and (job.origin or '') ~= ''
  local holder = ended and job.x_unique and holder_of(job.x_unique, id)
  if not ended then
    answers[#answers + 1] = job.status or ''
  elseif holder then
    answers[#answers + 1] = '!' .. holder
  else
    if job.x_unique then
      call('HSET', ours('unique', job.x_unique), 'job', id)
      call('HSETNX', ours('unique', job.x_unique), 'until', '0')
      call('PERSIST', ours('unique', job.x_unique))
    end
    wait_again(id, job.origin, false)
    call('HSET', key('job', id), 'ended_at', '')
    -- It was to expire with the job.
    call('PERSIST', key('results', id))
    leave(job.origin, id, 'finished', 'failed', 'canceled')
    local dependencies = redis.pcall('SMEMBERS', RQ .. ':job::' .. id .. ':dependencies')
    if not is_something_else(dependencies) then leave_dependencies(id, dependencies) end
    answers[#answers + 1] = '1'
  end
end
return answers
