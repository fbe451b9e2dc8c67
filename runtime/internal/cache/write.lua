-- Gives places a version that they never had, or takes those of all places away,
-- and tells everybody. It is one script so that it happens where the versions
-- are, also in a Cluster: who hears of it finds it done.
--
-- KEYS: the versions.
-- ARGV: the channel; what to tell; the version; the places, none for all.
if #ARGV == 3 then
  redis.call('DEL', KEYS[1])
end
for i = 4, #ARGV do
  redis.call('HSET', KEYS[1], ARGV[i], ARGV[3])
end
redis.call('PUBLISH', ARGV[1], ARGV[2])
return 0
