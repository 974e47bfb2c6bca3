-- reclaim_session: a connection that is still open writes its session again, after an outage or
-- after its node was taken for dead; but never over the session of a newer login.
-- KEYS[1]  the session
-- ARGV[1]  the session of the connection, ARGV[2] the mark of one that did not end well
-- Returns '' if the session is ours again, else the one that stands.
local current = redis.call('GET', KEYS[1])
if not current or current == ARGV[1] or current == ARGV[2] then
  redis.call('SET', KEYS[1], ARGV[1])
  return ''
end
return current
