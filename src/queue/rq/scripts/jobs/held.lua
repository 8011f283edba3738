-- What a process holds from a queue, whatever became of its job meanwhile. ARGV[3]: queue; [4]: process. Answers for each:
-- execution, id, hash.

local found, lent = {}, call('HGETALL', ours('deliveries'))
for i = 1, #lent, 2 do
  local process, queue = string.match(lent[i + 1], '^(%S+) %S+ %S+ (.*)$')
  if process == ARGV[4] and queue == ARGV[3] then
    local id, execution = string.match(lent[i], '^(.*):([^:]*)$')
    found[#found + 1] = { execution, id, hash_of(id) }
  end
end
return found
