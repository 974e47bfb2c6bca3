-- end_session: a session ends; only the one that is named, never its successor.
-- KEYS[1]  the session
-- ARGV[1]  the session that ended
-- ARGV[2]  what to leave in its place: '' for nothing, or the mark of one that did not end well
-- Returns 1 if it stood there.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
if ARGV[2] == '' then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], ARGV[2])
end
return 1
