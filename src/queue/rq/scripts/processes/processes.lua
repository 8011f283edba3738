-- Lists the processes whose lease is valid ([3]: 1) or has run out (0): for each its record and the expiry time, in
-- milliseconds.

local found = {}
local from, to = '(' .. whole(MILLIS), '+inf'
if ARGV[3] == '0' then from, to = '-inf', whole(MILLIS) end
local leases = call('ZRANGEBYSCORE', ours('leases'), from, to, 'WITHSCORES')
for i = 1, #leases, 2 do
  local record = call('HGET', ours('processes'), leases[i])
  if record then found[#found + 1] = { record, leases[i + 1] } end
end
return found
