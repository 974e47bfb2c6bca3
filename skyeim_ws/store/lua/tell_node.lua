-- tell_node: a message for one node, behind what was written for a user before.
-- In a cluster a plain PUBLISH takes a way of its own, and may arrive before what it speaks of.
-- KEYS[1]  a key of the user: its slot says which master publishes
-- ARGV[1]  the node's channel, ARGV[2] the message
-- Returns how many listened; in a cluster, on that master alone.
return redis.call('PUBLISH', ARGV[1], ARGV[2])
