-- Moves the mark of a schedule and puts its jobs in, if the mark is as the step says. ARGV[3]: schedule; [4]: the mark
-- that it was decided on, empty for none; [5]: the mark afterwards; [6…]: jobs. Answers 1, or 0 when it was not.

local before = call('HGET', ours('schedules'), ARGV[3]) or ''
if before ~= ARGV[4] then return 0 end
enqueue_all(6)
call('HSET', ours('schedules'), ARGV[3], ARGV[5])
return 1
