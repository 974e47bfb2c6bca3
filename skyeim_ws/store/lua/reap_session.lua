-- reap_session: the node of a session has died. What it had in its hands is known to SQL alone.
-- A user who has no session loses the mark of one that ended in order too: it had just ended, and
-- the node may have died before it put back what was unconfirmed. One with a newer session elsewhere
-- keeps it, and its node finds in a key of its own that the user has missed something.
-- KEYS[1]  the session, KEYS[2] what the user has missed, KEYS[3] the holders
-- ARGV[1]  a session of the dead node: whichever it had last, it is dead
-- ARGV[2]  what to write to KEYS[2], ARGV[3] its time to live in seconds
-- Returns 1 if the user has no newer session.
local dead = string.match(ARGV[1], '^(%S+) ')
let_go(KEYS[3], dead) -- what it had in its hands is noted as missed, or no session is left
local current = redis.call('GET', KEYS[1])
local node = current and string.match(current, '^(%S+) ')
if node and node ~= dead then
  redis.call('SET', KEYS[2], ARGV[2], 'EX', ARGV[3])
  return 0
end
redis.call('DEL', KEYS[1])
return 1
