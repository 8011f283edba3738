-- Ends the lease of a process: its deliveries become orphans. ARGV[3]: process.

local process = ARGV[3]
if call('ZREM', ours('leases'), process) == 1 then call('SADD', ours('lost'), process) end
forfeit(process)
local holds = false
for _, lent in ipairs(call('HVALS', ours('deliveries'))) do
  if string.match(lent, '^%S+') == process then holds = true end
end
if not holds then
  call('SREM', ours('lost'), process)
  call('HDEL', ours('processes'), process)
end
return 1
