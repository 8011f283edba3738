-- Lists processes with a valid lease: for each its record and the expiry time, in milliseconds.

local found = {}
local live = call('ZRANGEBYSCORE', ours('leases'), '(' .. whole(MILLIS), '+inf', 'WITHSCORES')
for i = 1, #live, 2 do
  local record = call('HGET', ours('processes'), live[i])
  if record then found[#found + 1] = { record, live[i + 1] } end
end
return found
