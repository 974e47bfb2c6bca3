-- claim_session: a user logs in here. Take the session over and read the head of the offline queue.
-- In one step, so that no message falls between "is offline" and "has just read the queue": a
-- message routed before is in the queue, one routed after finds the session.
-- KEYS[1]  the session, KEYS[2] the offline queue of the same user
-- ARGV[1]  the new session, ARGV[2] how many entries to read
-- Returns the previous session or '', the length of the queue, and its newest entries.
local previous = redis.call('GET', KEYS[1]) or ''
redis.call('SET', KEYS[1], ARGV[1])
local length = redis.call('LLEN', KEYS[2])
return {previous, length, redis.call('LRANGE', KEYS[2], 0, tonumber(ARGV[2]) - 1)}
