-- Forgets unique keys of jobs that others have ended or deleted, or that earlier versions left behind, as far as one look from
-- the cursor ARGV[3] reaches. Answers where the next look begins, `0` for at the beginning.

local prefix = ours('unique', '')
local look = try('SCAN', ARGV[3], 'MATCH', string.gsub(prefix, '[%[%]*?\\]', '\\%0') .. '*', 'COUNT', 1000)
for _, name in ipairs(look[2] or {}) do
  local holder = try('HGET', name, 'job')
  if type(holder) == 'string' and not OPEN[status_of(holder) or ''] then
    let_key_go(string.sub(name, #prefix + 1), holder)
  end
end
return look[1] or '0'
