-- Records that all lost data is restored. ARGV[3]: the mark of the memory in which it was restored.

if call('HGET', ours('memory'), 'mark') == ARGV[3] then call('HDEL', ours('memory'), 'forgot') end
return 1
