-- tell_user: a frame for a user who is on another node; dropped if the user is nowhere.
-- KEYS[1]  the session
-- ARGV[1]  what to tell the node, ARGV[2] the prefix of the nodes' channels
-- Returns 1 if a node was told.
local session = redis.call('GET', KEYS[1])
local node = session and string.match(session, '^(%S+) ')
if not node then
  return 0
end
redis.call('PUBLISH', ARGV[2] .. node, ARGV[1])
return 1
