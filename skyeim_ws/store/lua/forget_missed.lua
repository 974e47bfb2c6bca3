-- forget_missed: a user has caught up. What was written since then stays.
-- KEYS[1]  what the user has missed
-- ARGV[1]  what stood there when the catch-up began
-- Returns 1 if nothing is missed any more.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
return redis.call('DEL', KEYS[1])
