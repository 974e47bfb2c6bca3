-- publish_members: give a set that was written in pieces its name, and a time to live, in one step.
-- Nobody sees a part of it, and whoever tracks the name is told once.
-- KEYS[1]  the set as it was written, with a hash tag that puts it beside the other
-- KEYS[2]  its name
-- ARGV[1]  its time to live in seconds
redis.call('RENAME', KEYS[1], KEYS[2])
return redis.call('EXPIRE', KEYS[2], ARGV[1])
