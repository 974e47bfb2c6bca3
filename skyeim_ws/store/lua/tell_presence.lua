-- tell_presence: friends are told that a user is online or not, and it is noted. In one step, so that
-- what is noted was told, and of two nodes with the same news one tells.
-- KEYS[1]  of whom friends were told `online` last, KEYS[2] the users of the last announcements by
-- their number, KEYS[3] the number of the last one
-- ARGV[1]  the user, ARGV[2] 'SADD' for online or 'SREM' for offline, ARGV[3] '1' to tell it also if
-- it was noted, ARGV[4] how many are remembered; then, for each node that has friends, its channel
-- and what to tell it
-- Returns 1 if it was told.
if redis.call(ARGV[2], KEYS[1], ARGV[1]) == 0 and ARGV[3] ~= '1' then
  return 0
end
redis.call('ZADD', KEYS[2], redis.call('INCR', KEYS[3]), ARGV[1])
redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -1 - tonumber(ARGV[4]))
for i = 5, #ARGV, 2 do
  redis.call('PUBLISH', ARGV[i], ARGV[i + 1])
end
return 1
