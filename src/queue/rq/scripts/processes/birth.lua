-- Registers workers, one for each slot, unless they are registered. ARGV[3]: queues, separated by commas;
-- [4]: pid; [5]: host; [6]: version; [7…]: names.

even_when_full()
-- They are only for tools: a key of the wrong type does not prevent work.
local function list(register, name) call('SADD', register, name) end

for i = 7, #ARGV do
  local name = key('worker', ARGV[i])
  local found = redis.pcall('HMGET', name, 'birth', 'death')
  if is_something_else(found) or not found[1] or found[2] then
    call('DEL', name)
    call('HSET', name, 'birth', stamp(), 'last_heartbeat', stamp(), 'queues', ARGV[3], 'pid', ARGV[4],
      'hostname', ARGV[5], 'ip_address', 'unknown', 'version', ARGV[6], 'python_version', 'n/a (tikkun)', 'state', 'idle')
  end
  unless_spoiled(list, key('workers'), name)
  for queue in string.gmatch(ARGV[3], '[^,]+') do unless_spoiled(list, key('workers', queue), name) end
  call('EXPIRE', name, WORKER_TTL)
end
return 1
