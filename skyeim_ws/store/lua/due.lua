-- due: take users at whom it is time to look, so that of all nodes one does.
-- KEYS[1]  the users by the time, in milliseconds of this clock
-- ARGV[1]  how many at most
-- Returns the users.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local users = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1])
if #users > 0 then
  redis.call('ZREM', KEYS[1], unpack(users))
end
return users
