-- queue_private: private messages for a user. Put them into the offline queue, and tell of one.
-- They are queued first, whatever follows: a subscriber may be gone, or die, before its client has
-- the message. If the user has a live session its node is told, and delivers; the entry leaves
-- the queue when the client has confirmed the message.
-- The queue is in the order of the ids, newest at the head, whoever pushes when: after an outage
-- each node brings what has waited, and a window is the newest part of what stands at the head.
-- The watermark of the user is never above what is queued: a message may be late.
-- KEYS[1]  the session, KEYS[2] the offline queue of the same user, KEYS[3] the watermark
-- ARGV[1]  the size of the queue, ARGV[2] its time to live in seconds
-- ARGV[3]  the prefix of the nodes' channels, ARGV[4] what to tell the node, or '' for nothing
-- ARGV[5..] the entries
-- Returns 1 if a node was told.
local length = redis.call('LLEN', KEYS[2])

-- Nearly always it is the newest: the head is looked at first, and what is behind it by halves.
local function place(entry)
  local id = id_of(entry)
  local low, high, middle = 0, length, 0
  local behind = false
  while low < high do
    local other = redis.call('LINDEX', KEYS[2], middle)
    if id ~= '' and is_newer(id_of(other), id) then
      low = middle + 1
    else
      high, behind = middle, other
    end
    middle = math.floor((low + high) / 2)
  end
  if behind == entry then
    return -- a push that was repeated after an outage
  elseif low == 0 then
    length = redis.call('LPUSH', KEYS[2], entry)
  elseif behind then
    length = redis.call('LINSERT', KEYS[2], 'BEFORE', behind, entry)
  else
    length = redis.call('RPUSH', KEYS[2], entry)
  end
end

local mark = redis.call('GET', KEYS[3])
local function lower(id)
  if mark and id ~= '' and is_newer(string.match(mark, '^%d+'), id) then
    mark = id .. string.match(mark, '^%d+(.*)$')
    redis.call('SET', KEYS[3], mark, 'KEEPTTL')
  end
end

for n = 5, #ARGV do
  place(ARGV[n])
  lower(id_of(ARGV[n]))
end
if length > tonumber(ARGV[1]) then
  redis.call('LTRIM', KEYS[2], 0, tonumber(ARGV[1]) - 1)
  if not string.find(mark or '', 'full') then
    redis.call('SET', KEYS[3], (mark or '0') .. ' full', 'EX', ARGV[2])
  end
end
redis.call('EXPIRE', KEYS[2], ARGV[2])
local session = ARGV[4] ~= '' and redis.call('GET', KEYS[1])
local node = session and string.match(session, '^(%S+) ')
if not node then
  return 0
end
redis.call('PUBLISH', ARGV[3] .. node, ARGV[4])
return 1
