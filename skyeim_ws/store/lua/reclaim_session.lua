-- reclaim_session: a connection that is still open writes its session again, after an outage or
-- after its node was taken for dead; but never over the session of a newer login. Of two logins
-- the one with the greater connection id is the newer.
-- KEYS[1]  the session, KEYS[2] what the user has missed, KEYS[3] the holders, KEYS[4] the watermark
-- ARGV[1]  the session of the connection
-- ARGV[2]  the mark of one that ended in order, ARGV[3] what to write to KEYS[2] if there is
-- neither that nor a session of this life of Redis, ARGV[4] the time to live of KEYS[2] in seconds
-- ARGV[5]  the time to live of KEYS[3] in seconds
-- Returns whether the session is ours, KEYS[2] or '', the session that stood there before or '', the
-- id of the connection from now on, and KEYS[4]. If the session was this node's, the one before is
-- one whose place a claim has taken, and that was perhaps not told.
local current = redis.call('GET', KEYS[1]) or ''
local node, conn = string.match(ARGV[1], '^(%S+) (%S+)$')
local their_node, theirs, life = read_session(current)
if theirs and theirs > conn then
  if their_node ~= node then
    return {0, '', their_node .. ' ' .. theirs, conn, '0'}
  end
  -- A claim of this node renamed it, or an earlier connection here had it; the node has one.
  conn = theirs
end
local now = life_now()
redis.call('SET', KEYS[1], node .. ' ' .. conn .. ' ' .. now)
life = life or read_mark(current, ARGV[2])
if not life or not is_of(life, now) then
  redis.call('SET', KEYS[2], ARGV[3], 'EX', ARGV[4])
end
let_go(KEYS[3], node)
local before = theirs and their_node .. ' ' .. theirs or ''
if their_node == node then
  before = redis.call('SMEMBERS', KEYS[3])[1] or ''
elseif theirs then
  redis.call('SADD', KEYS[3], before)
  redis.call('EXPIRE', KEYS[3], ARGV[5])
end
local mark = string.match(redis.call('GET', KEYS[4]) or '0', '^%d+')
return {1, redis.call('GET', KEYS[2]) or '', before, conn, mark}
