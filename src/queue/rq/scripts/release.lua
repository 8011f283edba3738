-- Lets go some of the dependents that were too many for the script in which their job ended. Answers 1 when more are left.

for id, well in pairs(as_table(call('HGETALL', ours('releases')))) do
  local aside, name = ours('release', id), key('job', id, 'dependents')
  local some = still_to_look_at > 0 and call('SPOP', aside, still_to_look_at) or {}
  still_to_look_at = still_to_look_at - #some
  local stay = {}
  for _, child in ipairs(some) do
    -- What lies around one of them keeps none of the others.
    local done, is_free = pcall(release, id, child, well == '1')
    if not (done and is_free) then stay[#stay + 1] = child end
  end
  local lives = #stay > 0 and call('PTTL', key('job', id)) or -2
  if lives ~= -2 then
    call('SADD', name, unpack(stay))
    if lives >= 0 then call('PEXPIRE', name, lives) else call('PERSIST', name) end
  end
  if call('EXISTS', aside) == 0 then call('HDEL', ours('releases'), id) end
end
return call('EXISTS', ours('releases'))
