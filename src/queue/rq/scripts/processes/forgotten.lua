-- The mark of a memory on which what rows tell of has not been brought back; nothing when it has.

local memory = as_table(call('HGETALL', ours('memory')))
return memory.forgot and memory.mark or false
