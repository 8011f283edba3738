-- Removes workers from the registries. ARGV[3]: queues, separated by commas; [4…]: names.

local function take_off(register, name) call('SREM', register, name) end

for i = 4, #ARGV do
  local name = key('worker', ARGV[i])
  unless_spoiled(take_off, key('workers'), name)
  for queue in string.gmatch(ARGV[3], '[^,]+') do unless_spoiled(take_off, key('workers', queue), name) end
  if call('EXISTS', name) == 1 and unless_spoiled(call, 'HSET', name, 'death', stamp()) then
    call('EXPIRE', name, DEAD_TTL)
  end
  call('DEL', key('worker', ARGV[i], 'executions'))
end
return 1
