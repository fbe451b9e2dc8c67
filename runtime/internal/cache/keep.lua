-- Keeps what was made, unless that is empty, and lets others make it again.
--
-- KEYS: the answer, who makes it.
-- ARGV: what to keep; for how many milliseconds; the versions and who made it.
if ARGV[1] ~= '' then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
if redis.call('GET', KEYS[2]) == ARGV[3] then
  redis.call('DEL', KEYS[2])
end
return 0
