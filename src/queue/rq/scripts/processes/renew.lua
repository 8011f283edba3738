-- Creates or renews the lease of a process. ARGV[3]: process; [4]: its record; [5]: milliseconds; [6]: the
-- mark of the memory that the process knows, empty for none; [7]: the mark for an empty server. Answers 1:
-- unbroken; 0: another process noticed that it had expired; -1: there was none; and the mark.

local process, memory = ARGV[3], ours('memory')
even_when_full()
heard(tonumber(ARGV[5]))
local before = call('ZSCORE', ours('leases'), process)
local lost = call('SREM', ours('lost'), process) == 1
call('ZADD', ours('leases'), whole(MILLIS + tonumber(ARGV[5])), process)
call('HSET', ours('processes'), process, ARGV[4])
local mark = call('HGET', memory, 'mark')
if not mark then
  mark = ARGV[7]
  call('HSET', memory, 'mark', mark)
end
-- A process knew another mark: the data of database rows must be restored.
if ARGV[6] ~= '' and ARGV[6] ~= mark then call('HSET', memory, 'forgot', '1') end
if lost then return { 0, mark } end
return { before and 1 or -1, mark }
