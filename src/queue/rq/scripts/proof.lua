-- Does all that Tikkun does on a server, on keys of no job: a refusal here concerns every job.

local NOBODY = 'tikkun-proof'

-- One key of every kind that is written, with the names that keys of jobs have.
local SORTS = { key('job', NOBODY), key('job', NOBODY, 'dependents'), RQ .. ':job::' .. NOBODY .. ':dependencies',
  key('results', NOBODY), key('queue', NOBODY), key('queue', NOBODY, 'intermediate'), key('wip', NOBODY),
  key('finished', NOBODY), key('failed', NOBODY), key('deferred', NOBODY), key('scheduled', NOBODY), key('canceled', NOBODY),
  key('execution', NOBODY), key('executions', NOBODY), key('worker', NOBODY), key('workers', NOBODY),
  key('scheduler', NOBODY), key('scheduler-lock', NOBODY), key('rl', NOBODY), ours('proof'), ours('unique', NOBODY),
  ours('held', NOBODY), ours('release', NOBODY), ours('told', NOBODY) }

-- Keys shared by all jobs, each with a write that changes nothing.
local ALL_SHARE = { [key('queues')] = 'SREM', [key('rl-keys')] = 'SREM', [ours('releases')] = 'HDEL',
  [ours('deliveries')] = 'HDEL' }

-- Answers what was refused: the command, or the key if all commands are allowed, and why.
local function prove()
  local refused, known = {}, {}
  local function ask(...)
    local answer = redis.pcall(...)
    local command = select(1, ...)
    if type(answer) == 'table' and answer.err and not known[command] then
      known[command] = true
      refused[#refused + 1] = { command, answer.err }
    end
  end
  local text, hash, list = ours('proof'), ours('proof', 'hash'), ours('proof', 'list')
  local set, sorted, stream = ours('proof', 'set'), ours('proof', 'sorted'), ours('proof', 'stream')
  ask('SET', text, '1')
  ask('GET', text)
  ask('HSET', hash, 'a', '1')
  ask('HSETNX', hash, 'a', '1')
  ask('HINCRBY', hash, 'a', 1)
  ask('HGET', hash, 'a')
  ask('HMGET', hash, 'a', 'b')
  ask('HGETALL', hash)
  ask('HVALS', hash)
  ask('HEXISTS', hash, 'a')
  ask('HDEL', hash, 'b')
  ask('RPUSH', list, 'a')
  ask('LPUSH', list, 'b')
  ask('LPOP', list, 1)
  ask('LREM', list, 1, 'b')
  ask('LRANGE', list, 0, -1)
  ask('LLEN', list)
  ask('LPOS', list, 'a')
  ask('LINDEX', list, 0)
  ask('SADD', set, 'a')
  ask('SREM', set, 'b')
  ask('SMEMBERS', set)
  ask('SRANDMEMBER', set, 1)
  ask('SCARD', set)
  ask('SMOVE', set, ours('proof', 'other'), 'b')
  ask('SUNIONSTORE', set, set, ours('proof', 'other'))
  ask('ZADD', sorted, 1, 'a')
  ask('ZREM', sorted, 'b')
  ask('ZCARD', sorted)
  ask('ZSCORE', sorted, 'a')
  ask('ZMSCORE', sorted, 'a', 'b')
  ask('ZRANGE', sorted, 0, -1)
  ask('ZREVRANGE', sorted, 0, -1)
  ask('ZRANGEBYSCORE', sorted, 0, 1)
  ask('ZRANDMEMBER', sorted, 1)
  ask('ZCOUNT', sorted, 0, '+inf')
  ask('XADD', stream, '*', 'a', '1')
  ask('XREVRANGE', stream, '+', '-', 'COUNT', 1)
  ask('EXISTS', text)
  ask('TYPE', text)
  ask('EXPIRE', text, 60)
  ask('PTTL', text)
  ask('PEXPIRE', text, 60000)
  ask('PEXPIREAT', text, in_seconds(60))
  ask('RENAME', text, text)
  ask('PERSIST', text)
  ask('DEL', text, hash, list, set, sorted, stream)
  for _, name in ipairs(known['DEL'] and {} or SORTS) do
    local answer = redis.pcall('DEL', name)
    if type(answer) == 'table' and answer.err then refused[#refused + 1] = { name, answer.err } end
  end
  for name, command in pairs(ALL_SHARE) do
    local answer = not known[command] and redis.pcall(command, name, '')
    if type(answer) == 'table' and answer.err and not is_of_type(answer) then
      refused[#refused + 1] = { name, answer.err }
    end
  end
  return refused
end

