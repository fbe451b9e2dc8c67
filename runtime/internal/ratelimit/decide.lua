-- Decides requests, each by several counters. KEYS are the counters of all
-- requests in turn. Each of ARGV is a request, in JSON, all numbers:
--
--   [need, want, back, and for each counter: shadow, windows, and for each
--    window: limit, period, end]
--
-- back is given back to the windows that still end at end. Then the request
-- takes want, or as much as there is room for, or nothing where that is less
-- than need. Its answer is, in JSON:
--
--   [now, and for each counter: end of its ban or 0, taken, and for each
--    window: end or 0, count]
--
-- A counter is kept as [end of its ban or 0, and for each window: period, end,
-- count]. Windows that a request does not name are left as they are until they
-- end. Times are in milliseconds, by this server's clock.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local values = redis.call('MGET', unpack(KEYS))
local decode, format, rep = cjson.decode, string.format, string.rep
local counters, changed, requests, lists, answers = {}, {}, {}, {}, {}

-- cjson writes numbers at a third of the speed
local function encode(numbers)
  local n = #numbers
  if not lists[n] then lists[n] = '[' .. rep('%d,', n - 1) .. '%d]' end
  return format(lists[n], unpack(numbers))
end

-- load reads a counter without what has ended
local function load(value)
  if not value then return {0} end
  local c = decode(value)
  if c[1] <= now then c[1] = 0 end
  for at = #c - 2, 2, -3 do
    if c[at + 1] <= now then
      for _ = 1, 3 do table.remove(c, at) end
    end
  end
  return c
end

-- find returns where a window is, most often at the place given
local function find(c, period, at)
  if c[at] == period then return at end
  for i = 2, #c, 3 do
    if c[i] == period then return i end
  end
end

local before = 0 -- the keys of the requests that are done
for r = 1, #ARGV do
  local q = requests[ARGV[r]]
  if not q then
    q = decode(ARGV[r])
    requests[ARGV[r]] = q
  end
  local need, n, back = q[1], q[2], q[3]
  local allowed, rooms = true, {}

  local key, p = before, 4
  while q[p] do
    key = key + 1
    local c = counters[KEYS[key]]
    if not c then
      c = load(values[key])
      counters[KEYS[key]] = c
    end
    local room, last, place = q[2], p + 3 * q[p + 1], 2
    for w = p + 2, last, 3 do
      local left, at = q[w], find(c, q[w + 1], place)
      if at then
        if back > 0 and c[at + 1] == q[w + 2] then
          c[at + 2] = math.max(0, c[at + 2] - back)
          changed[KEYS[key]] = c
        end
        left = left - c[at + 2]
      end
      if left < room then room = left end
      place = place + 3
    end
    if c[1] > 0 then allowed = false end
    if q[p] == 0 then
      if room < need then allowed = false end
      if room < n then n = room end
    end
    rooms[key] = room
    p = last + 2
  end

  local a = {now}
  key, p = before, 4
  while q[p] do
    key = key + 1
    local c, taken = counters[KEYS[key]], 0
    if allowed and rooms[key] >= need then
      taken = math.min(n, rooms[key])
    end
    a[#a + 1] = c[1]
    a[#a + 1] = taken
    local last, place = p + 3 * q[p + 1], 2
    for w = p + 2, last, 3 do
      local period = q[w + 1]
      local at = find(c, period, place)
      if taken > 0 then
        changed[KEYS[key]] = c
        if at then
          c[at + 2] = c[at + 2] + taken
        else
          at = #c + 1
          c[at], c[at + 1], c[at + 2] = period, now + period, taken
        end
      end
      a[#a + 1] = at and c[at + 1] or 0
      a[#a + 1] = at and c[at + 2] or 0
      place = place + 3
    end
    p = last + 2
  end
  before = key
  answers[r] = encode(a)
end

for key, c in pairs(changed) do
  local last = c[1]
  for at = 3, #c, 3 do last = math.max(last, c[at]) end
  redis.call('SET', key, encode(c), 'PX', last - now + 1)
end
return answers
