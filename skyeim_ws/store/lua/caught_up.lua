-- caught_up: a user has got all that was missed, and so also what had left a full queue.
-- KEYS[1]  what the user has missed, KEYS[2] the watermark
-- ARGV[1]  what stood in KEYS[1]
-- Returns 1 unless something was missed since.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('DEL', KEYS[1])
local mark = redis.call('GET', KEYS[2])
if mark then
  redis.call('SET', KEYS[2], string.match(mark, '^%d+'), 'KEEPTTL')
end
return 1
