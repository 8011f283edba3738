-- The mark of a memory whose lost data has not been restored yet; nothing if it has.

local memory = as_table(call('HGETALL', ours('memory')))
return memory.forgot and memory.mark or false
