-- end_session: a session ends in order; only the one that is named, never its successor. Its place
-- takes the mark of that, for as long as the user's offline queue may last.
-- KEYS[1]  the session
-- ARGV[1]  the session that ended, ARGV[2] the mark, ARGV[3] its time to live in seconds
-- Returns 1 if it stood there.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
return 1
