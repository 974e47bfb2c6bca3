-- look_later: users have been sent away. If they are not back by then, their friends are to hear.
-- KEYS[1]  the users by the time, in milliseconds of this clock
-- ARGV[1]  in how many milliseconds, ARGV[2..] the users
local time = redis.call('TIME')
local at = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[1]
for n = 2, #ARGV do
  redis.call('ZADD', KEYS[1], at, ARGV[n])
end
