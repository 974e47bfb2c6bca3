-- renew_lease: a node is alive. By the clock of Redis, since those of the nodes may differ.
-- KEYS[1]  the nodes, by the time in ms at which each was last seen
-- ARGV[1]  this node, ARGV[2] after how many ms without a sign a node is dead
-- Returns whether the node was listed before, and the dead nodes.
local now = redis.call('TIME')
local ms = now[1] * 1000 + math.floor(now[2] / 1000)
local known = redis.call('ZSCORE', KEYS[1], ARGV[1])
redis.call('ZADD', KEYS[1], ms, ARGV[1])
return {known and 1 or 0, redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ms - tonumber(ARGV[2]))}
