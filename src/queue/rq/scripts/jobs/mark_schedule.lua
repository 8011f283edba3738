-- Moves the mark of a schedule and enqueues its jobs, if the mark is as expected. ARGV[3]: schedule; [4]: the
-- expected mark, empty for none; [5]: the new mark; [6…]: jobs. Answers 1, or 0 if it was not.

local before = call('HGET', ours('schedules'), ARGV[3]) or ''
if before ~= ARGV[4] then return 0 end
enqueue_all(6)
call('HSET', ours('schedules'), ARGV[3], ARGV[5])
return 1
