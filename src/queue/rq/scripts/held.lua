-- What a process holds from a queue, as far as its executions still hold their jobs. ARGV[3]: queue; [4]: process. Answers for each: execution, id, hash.

local found, lent = {}, call('HGETALL', ours('deliveries'))
for i = 1, #lent, 2 do
  local process, queue = string.match(lent[i + 1], '^(%S+) %S+ %S+ (.*)$')
  if process == ARGV[4] and queue == ARGV[3] then
    local id, execution = string.match(lent[i], '^(.*):([^:]*)$')
    local hash = call('ZSCORE', key('wip', queue), lent[i]) and hash_of(id) or {}
    if #hash > 0 then found[#found + 1] = { execution, id, hash } end
  end
end
return found
