-- Bans KEYS[1] for ARGV[1] milliseconds. Its windows stay.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local value = redis.call('GET', KEYS[1])
local c = value and cjson.decode(value) or {0}
c[1] = now + ARGV[1]
local last = c[1]
for at = 3, #c, 3 do last = math.max(last, c[at]) end
local form = '[' .. string.rep('%d,', #c - 1) .. '%d]'
redis.call('SET', KEYS[1], string.format(form, unpack(c)), 'PX', last - now + 1)
return 1
