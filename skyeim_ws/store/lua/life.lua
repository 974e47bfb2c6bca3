-- life: whether Redis may have forgotten what followed a session. One that was killed, or a replica
-- that takes the place of its master, lacks the last writes; it has another run id. So a session, and
-- the mark of one that ended in order, carry the beginning of the run id under which they were
-- written. Put before other scripts.
-- Some providers do not tell the run id: then all lives are the same one.
local function life_now()
  return string.sub(string.match(redis.call('INFO', 'server'), 'run_id:(%x+)') or '', 1, 8)
end

-- Returns the node, the connection and the life of a session, or nothing.
local function read_session(text)
  return string.match(text or '', '^(%S+) (%S+) ?(%x*)$')
end

-- Returns the life of the mark of a session that ended in order, or nothing.
local function read_mark(text, mark)
  return string.match(text or '', '^' .. mark .. ':?(%x*)$')
end

local function is_of(life, now)
  return life == '' or life == now
end
