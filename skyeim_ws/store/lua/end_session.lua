-- end_session: a session ends in order; only the one that is named, never its successor. Its place
-- takes the mark of that, for as long as the user's offline queue may last.
-- KEYS[1]  the session
-- ARGV[1]  the session that ended, ARGV[2] the mark, ARGV[3] its time to live in seconds
-- Returns 1 if the user has no session now, also if an earlier try whose answer was lost has ended it.
local current = redis.call('GET', KEYS[1])
if current == ARGV[1] then
  redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
  return 1
end
if current and string.match(current, '^%S+ %S+$') then
  return 0
end
return 1
