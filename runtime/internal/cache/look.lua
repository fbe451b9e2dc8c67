-- Gives the answer that is kept, if it is of the present, and else the right to
-- make it to the first who asks.
--
-- An answer is of the present while each of its tags' places has the version
-- that it had before the database was asked. A place without a version, because
-- Redis is new or evicted it, gets one that was never there before: so what is
-- lost makes answers ones of the past, and never of the present again.
--
-- KEYS: the versions, the answer, who makes it.
-- ARGV: a new version; who asks; for how many milliseconds he may make it; the
-- milliseconds below which an answer should be made again; the places.
local versions = redis.call('HMGET', KEYS[1], unpack(ARGV, 5))
for i = 1, #versions do
  if not versions[i] then
    versions[i] = ARGV[1]
    redis.call('HSET', KEYS[1], ARGV[i + 4], ARGV[1])
  end
end
local version = table.concat(versions, ' ') .. '\n'

local answer, left = false, 0
local kept = redis.call('GET', KEYS[2])
if kept and string.sub(kept, 1, #version) == version then
  answer, left = string.sub(kept, #version + 1), redis.call('PTTL', KEYS[2])
  if left >= tonumber(ARGV[4]) or string.sub(answer, 1, 1) == '-' then
    return { version, answer, left, 0 }
  end
end
local mine = 0
if ARGV[2] ~= '' then
  local maker = redis.call('GET', KEYS[3])
  if not maker or string.sub(maker, 1, #version) ~= version then -- or he makes one of the past
    redis.call('SET', KEYS[3], version .. ARGV[2], 'PX', ARGV[3])
    mine = 1
  end
end
return { version, answer, left, mine }
