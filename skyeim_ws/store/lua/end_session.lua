-- end_session: a session ends; only the one that is named, never its successor.
-- KEYS[1]  the session
-- ARGV[1]  the session that ended
-- Returns 1 if it stood there.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('DEL', KEYS[1])
return 1
