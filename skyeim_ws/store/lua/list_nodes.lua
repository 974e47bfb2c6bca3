-- list_nodes: the nodes and their signs of life, beside the clock that these were taken from.
-- KEYS[1]  the nodes, by the time in ms at which each was last seen
-- Returns the time of Redis in ms, then each node followed by its sign of life.
local now = redis.call('TIME')
local found = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
table.insert(found, 1, tostring(now[1] * 1000 + math.floor(now[2] / 1000)))
return found
