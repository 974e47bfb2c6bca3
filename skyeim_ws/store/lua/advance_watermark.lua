-- advance_watermark: all private messages of a user with an id below this one are confirmed, as far
-- as the node of the session knows. What it cannot know is looked up here: the watermark stops before
-- the queue, and stands still while another node may have something in its hands, when the user has
-- missed something that is not being brought by whoever asks, or when Redis may have forgotten
-- something and who asks has not noticed it yet.
-- Entries that have left a full queue are known to SQL alone: then it stands still until they have
-- been brought.
-- KEYS[1]  the session, KEYS[2] the offline queue of the same user, KEYS[3] what it has missed,
-- KEYS[4]  the holders, KEYS[5] the watermark
-- ARGV[1]  the session of who asks, ARGV[2] the new watermark, ARGV[3] the note of what it is
-- bringing, or '', ARGV[4] the time to live of KEYS[5] in seconds, ARGV[5] the size of the queue
-- ARGV[6]  how many entries of the queue may be in the wrong order: other programs write it too
-- Returns the watermark; nothing if it has to wait.
local missed = redis.call('GET', KEYS[3])
local node, conn, life = read_session(redis.call('GET', KEYS[1]))
if not node or node .. ' ' .. conn ~= ARGV[1] or not is_of(life, life_now())
  or (missed and missed ~= ARGV[3])
  or redis.call('EXISTS', KEYS[4]) == 1 then
  return false
end
local mark = redis.call('GET', KEYS[5]) or '0'
local length = redis.call('LLEN', KEYS[2])
if ARGV[3] == '' and (string.find(mark, 'full') or length >= tonumber(ARGV[5])) then
  return string.match(mark, '^%d+')
end
local below = ARGV[2]
if length > 0 then
  for _, entry in ipairs(redis.call('LRANGE', KEYS[2], -ARGV[6], -1)) do
    local id = id_of(entry)
    if id ~= '' and is_newer(below, id) then
      below = id
    end
  end
end
redis.call('SET', KEYS[5], below, 'EX', ARGV[4])
return below
