-- Takes workers off the registers. ARGV[3]: queues with commas; [4…]: names.

for i = 4, #ARGV do
  local name = key('worker', ARGV[i])
  call('SREM', key('workers'), name)
  for queue in string.gmatch(ARGV[3], '[^,]+') do call('SREM', key('workers', queue), name) end
  if call('EXISTS', name) == 1 then
    call('HSET', name, 'death', stamp())
    call('EXPIRE', name, DEAD_TTL)
  end
  call('DEL', key('worker', ARGV[i], 'executions'))
end
return 1
