-- Makes or renews the lease of a process. ARGV[3]: process; [4]: its record; [5]: milliseconds.
-- Answers 1: unbroken; 0: another saw that it had run out; -1: there was none.

local process = ARGV[3]
local before = call('ZSCORE', ours('leases'), process)
local lost = call('SREM', ours('lost'), process) == 1
call('ZADD', ours('leases'), whole(MILLIS + tonumber(ARGV[5])), process)
call('HSET', ours('processes'), process, ARGV[4])
if lost then return 0 end
return before and 1 or -1
