-- route_private: a private message for a user who is not on the sender's node.
-- It is queued first, whatever follows: a subscriber may be gone, or die, before its client has
-- the message. If the user has a live session its node is told, and delivers; the entry leaves
-- the queue when the client has confirmed the message.
-- KEYS[1]  the session, KEYS[2] the offline queue of the same user
-- ARGV[1]  the entry, ARGV[2] the size of the queue, ARGV[3] its time to live in seconds
-- ARGV[4]  what to tell the node, ARGV[5] the prefix of the nodes' channels
-- Returns 1 if a node was told.
redis.call('LPUSH', KEYS[2], ARGV[1])
redis.call('LTRIM', KEYS[2], 0, tonumber(ARGV[2]) - 1)
redis.call('EXPIRE', KEYS[2], ARGV[3])
local session = redis.call('GET', KEYS[1])
local node = session and string.match(session, '^(%S+) ')
if not node then
  return 0
end
redis.call('PUBLISH', ARGV[5] .. node, ARGV[4])
return 1
