-- end_session: a session ends in order; the one that is named, or an older one of its node, whose end
-- did not reach Redis: a node has one connection of a user. Never its successor. Its place takes the
-- mark of that, for as long as the user's offline queue may last.
-- It has put back what it had in its hands, also if another has taken its place before.
-- If it has taken the place of one that has not ended, that has it again: the claim may have come
-- late, when its own client was there already, or that one was not told.
-- KEYS[1]  the session, KEYS[2] the holders
-- ARGV[1]  the session that ended, ARGV[2] the mark, ARGV[3] its time to live in seconds
-- Returns 1 if the user has no session now, also if an earlier try whose answer was lost has ended it.
local node, conn = read_session(ARGV[1])
let_go(KEYS[2], node)
local their_node, theirs, life = read_session(redis.call('GET', KEYS[1]))
if not theirs then
  return 1
elseif their_node ~= node or theirs > conn then
  return 0
end
local before = redis.call('SMEMBERS', KEYS[2])[1]
if before then
  redis.call('SREM', KEYS[2], before)
  redis.call('SET', KEYS[1], before .. (life ~= '' and ' ' .. life or ''))
  return 0
end
redis.call('SET', KEYS[1], ARGV[2] .. (life ~= '' and ':' .. life or ''), 'EX', ARGV[3])
return 1
