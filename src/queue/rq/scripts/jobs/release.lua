-- Releases some of the dependents that were too many for the script in which their job ended. Answers 1 if
-- more are left. Each is removed from the set last: if something is refused before, the next step finds it
-- again.

for id, well in pairs(as_table(call('HGETALL', ours('releases')))) do
  local aside, name = ours('release', id), key('job', id, 'dependents')
  local lives = call('PTTL', key('job', id))
  local some = still_to_look_at > 0 and call('SRANDMEMBER', aside, still_to_look_at) or {}
  still_to_look_at = still_to_look_at - #some
  local stay = 0
  for _, child in ipairs(some) do
    -- Wrong types of keys of one do not block the others; other refusals are left to the next step.
    local done, is_free = pcall(release, id, child, well == '1')
    if not done and not is_of_type(is_free) then error(is_free, 0) end
    if lives == -2 or (done and is_free) then
      call('SREM', aside, child)
    else
      call('SMOVE', aside, name, child)
      stay = stay + 1
    end
  end
  if stay > 0 and lives >= 0 then call('PEXPIRE', name, lives) end
  if call('EXISTS', aside) == 0 then call('HDEL', ours('releases'), id) end
end
return call('EXISTS', ours('releases'))
