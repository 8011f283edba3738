-- Deletes unique keys of jobs that others have ended or deleted, or that earlier versions left, in one step
-- of a scan from the cursor ARGV[3]. Answers the next cursor, `0` for the beginning.

local prefix = ours('unique', '')
local look = try('SCAN', ARGV[3], 'MATCH', string.gsub(prefix, '[%[%]*?\\]', '\\%0') .. '*', 'COUNT', 1000)
for _, name in ipairs(look[2] or {}) do
  local holder = try('HGET', name, 'job')
  if type(holder) == 'string' and not OPEN[status_of(holder) or ''] then
    let_key_go(string.sub(name, #prefix + 1), holder)
  end
end
return look[1] or '0'
