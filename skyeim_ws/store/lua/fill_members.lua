-- fill_members: add members to a set and give it a time to live, in one step.
-- In two steps a lost connection could leave the set without an end, and stale for good.
-- KEYS[1]  the set
-- ARGV[1]  its time to live in seconds
-- ARGV[2..] the members; in chunks, because unpack() takes only some thousands of values
local CHUNK = 1000
for first = 2, #ARGV, CHUNK do
  redis.call('SADD', KEYS[1], unpack(ARGV, first, math.min(first + CHUNK - 1, #ARGV)))
end
return redis.call('EXPIRE', KEYS[1], ARGV[1])
