-- Records the first time that workers were asked to leave. ARGV[3…]: names.

for i = 3, #ARGV do
  local name = key('worker', ARGV[i])
  if call('EXISTS', name) == 1 then call('HSETNX', name, 'shutdown_requested_date', stamp()) end
end
return 1
