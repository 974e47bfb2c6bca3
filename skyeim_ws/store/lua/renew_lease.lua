-- renew_lease: a node is alive. Its sign of life is the time of Redis, for whoever reads it; the others
-- look whether it changes, and not how old it is: the clock of Redis may be set in either direction.
-- KEYS[1]  the nodes, by the time in ms at which each was last seen
-- ARGV[1]  this node
-- Returns whether the node was listed before, and all nodes, each followed by its sign of life.
local now = redis.call('TIME')
local known = redis.call('ZSCORE', KEYS[1], ARGV[1])
redis.call('ZADD', KEYS[1], now[1] * 1000 + math.floor(now[2] / 1000), ARGV[1])
return {known and 1 or 0, redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')}
