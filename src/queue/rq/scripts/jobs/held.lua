-- Lists the deliveries of a process from a queue, whatever happened to their jobs. ARGV[3]: queue; [4]:
-- process. Answers for each: execution, id, hash; only as many hashes as fit into an answer.

local found, lent, room = {}, call('HGETALL', ours('deliveries')), SHORT_ANSWER
for i = 1, #lent, 2 do
  local process, _, _, queue = parted_lent(lent[i + 1])
  if process == ARGV[4] and queue == ARGV[3] then
    local id, execution = string.match(lent[i], '^(.*):([^:]*)$')
    local hash = hash_of(id)
    local size = size_of(hash)
    if size > room then hash, size = {}, 0 end
    room = room - size
    found[#found + 1] = { execution, id, hash }
  end
end
return found
