-- forget: a note has served its purpose: a user has caught up, or a node was told. What was written
-- in its place since then stays.
-- KEYS[1]  the note
-- ARGV[1]  what stood there
-- Returns 1 if it is gone.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
return redis.call('DEL', KEYS[1])
