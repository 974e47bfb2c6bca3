-- holders: sessions of other nodes that may still have messages of the user in their hands. Put
-- before other scripts.
local function let_go(key, node)
  for _, session in ipairs(redis.call('SMEMBERS', key)) do
    if string.match(session, '^(%S+) ') == node then
      redis.call('SREM', key, session)
    end
  end
end
