-- hold_webhook: only one node posts at a time. Take the hold, make it last longer, or give it up.
-- KEYS[1]  which node has it
-- ARGV[1]  this node, ARGV[2] for how many milliseconds; 0 gives it up
-- Returns 1 if this node has it, or had it.
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then
  return 0
end
if ARGV[2] == '0' then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
return 1
