-- raise_seq: set a counter if it is missing or smaller, never lower it; keeps its time to live.
-- The services that share the counter INCR it at any time, so reading and setting are one step.
-- KEYS[1]  the counter
-- ARGV[1]  what it must at least be; below 2^53, where Lua counts exactly
local seq = tonumber(redis.call('GET', KEYS[1]) or '0')
if seq and seq >= tonumber(ARGV[1]) then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'KEEPTTL')
return 1
