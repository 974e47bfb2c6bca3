-- claim_session: a user logs in here. Take the session over and read the head of the offline queue.
-- In one step, so that no message falls between "is offline" and "has just read the queue": a
-- message routed before is in the queue, one routed after finds the session.
-- A session that ends in order leaves the mark of that in its place. Whoever finds neither a session
-- nor this mark may have missed anything: the first login after a change of gateways, one after
-- Redis was emptied or a node died, and one after a long time. So may whoever finds those of an
-- earlier life of Redis. That is noted in a key of its own: it has to last until the user has what
-- was missed, over any number of logins.
-- Of two sessions the one with the greater connection id is the newer, whatever the clocks of the
-- nodes say: a claim that comes later with a smaller id gets one that is greater.
-- The session on another node whose place is taken stands among the holders until that node has put
-- back what it had in its hands, or is dead. So if the answer is lost, the node finds the session as
-- its own, at the next claim or a reclaim, and whom it has still to tell. Until then the watermark
-- stands still.
-- KEYS[1]  the session, KEYS[2] the offline queue of the same user, KEYS[3] what it has missed,
-- KEYS[4]  the holders, KEYS[5] the watermark
-- ARGV[1]  the new session, ARGV[2] how many entries to read
-- ARGV[3]  the mark, ARGV[4] what to write to KEYS[3] without it
-- ARGV[5]  the time to live of KEYS[4] in seconds, ARGV[6] that of KEYS[3]
-- Returns the previous session or '', the length of the queue, its newest entries, KEYS[3], the id of
-- the connection from now on, KEYS[5], and whether Redis may have forgotten what came before.
local previous = redis.call('GET', KEYS[1]) or ''
local node, conn = string.match(ARGV[1], '^(%S+) (%S+)$')
local their_node, theirs, life = read_session(previous)
if theirs and theirs > conn then
  conn = theirs .. '+'
end
local now = life_now()
redis.call('SET', KEYS[1], node .. ' ' .. conn .. ' ' .. now)
let_go(KEYS[4], node) -- earlier connections here have put back all
life = life or read_mark(previous, ARGV[3])
local forgetful = life and not is_of(life, now)
if not life or forgetful then
  redis.call('SET', KEYS[3], ARGV[4], 'EX', ARGV[6])
end
previous = theirs and their_node .. ' ' .. theirs or ''
if their_node == node then
  previous = redis.call('SMEMBERS', KEYS[4])[1] or previous
elseif theirs then
  redis.call('SADD', KEYS[4], previous)
  redis.call('EXPIRE', KEYS[4], ARGV[5])
end
local length = redis.call('LLEN', KEYS[2])
local head = redis.call('LRANGE', KEYS[2], 0, tonumber(ARGV[2]) - 1)
local mark = string.match(redis.call('GET', KEYS[5]) or '0', '^%d+')
return {previous, length, head, redis.call('GET', KEYS[3]) or '', conn, mark, forgetful and 1 or 0}
