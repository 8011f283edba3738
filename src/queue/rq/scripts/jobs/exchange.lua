-- Settles deliveries, and then takes jobs. If the ends are refused, nothing is taken.
-- ARGV[3]: how many arguments settle deliveries. They follow; behind them are those that take jobs, if any are to be taken.
-- Answers what either answers, or for jobs nothing if none were to be taken.

local last = 3 + tonumber(ARGV[3])
local settled = last > 3 and settle(4, last) or {}
if settled.err then return settled end
return { settled, ARGV[last + 1] and take(last + 1) or false }
