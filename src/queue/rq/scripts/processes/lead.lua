-- Takes or renews a role. ARGV[3]: role; [4]: process; [5]: milliseconds. Answers 1, or 0 if another leads.

local name = ours('role', ARGV[3])
local role = as_table(call('HGETALL', name))
even_when_full()
if role.holder and role.holder ~= ARGV[4] and tonumber(role['until']) > MILLIS then
  local tick = tonumber(role.tick)
  -- A tick in the future is from a server whose clock was ahead: the lease counts from now, for its duration.
  if tick > MILLIS then
    call('HSET', name, 'until', whole(MILLIS + tonumber(role['until']) - tick), 'tick', whole(MILLIS))
  end
  return 0
end
call('SADD', ours('roles'), ARGV[3])
call('HSET', name, 'holder', ARGV[4], 'until', whole(MILLIS + tonumber(ARGV[5])), 'tick', whole(MILLIS))
return 1
