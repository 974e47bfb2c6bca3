-- ids: of the messages in a queue. Put before other scripts.
-- Compared by their digits: of numbers above 2^53 Lua knows too few.
local function id_of(entry)
  return string.match(entry, '"id"%s*:%s*"?(%d+)') or ''
end

local function is_newer(id, other)
  return #id > #other or (#id == #other and id > other)
end
