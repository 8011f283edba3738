-- Notes that what rows tell of is back. ARGV[3]: the mark of the memory to which it was brought.

if call('HGET', ours('memory'), 'mark') == ARGV[3] then call('HDEL', ours('memory'), 'forgot') end
return 1
