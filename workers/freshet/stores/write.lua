#!lua
-- One step of a flush (design §6.5): compares progress, writes, and ends by moving progress on.
-- Without the flag allow-oom the server refuses the whole script when it is full, so nothing is ever half written then.
-- KEYS: progress, states written whole to stay, states written whole with a TTL, states written in front, with duplicates:
--       index, buckets to append to; then all that is to be deleted: buckets, states of erased entities
-- ARGV: expected progress, next progress, number of each of the three kinds of states, of append (-1: no duplicates); then
--       for each to stay: blob; for each with a TTL: TTL in ms, blob; for each front: length that the value must have,
--       blob; the index; bytes to append to each bucket
-- Returns 1, or {progress found} when it is not the expected one, or {progress, i, length} when the i-th front met a
-- value of another length (design §6.10): that value is then deleted.
-- rule: compare
local found = redis.call('GET', KEYS[1])
if found ~= ARGV[1] then
  return {found}
end
local stay, ttl, front, append = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local key, arg = 1, 6
-- One MSET costs the server two thirds of as many SETs. Lua takes no more than some thousand arguments at once.
-- Globals are looked up in two tables, and the length of a table by bisection: neither is done for each state.
local keys, args = KEYS, ARGV
for first = 1, stay, 1000 do
  local pairs, n = {}, 0
  for i = first, math.min(stay, first + 999) do
    pairs[n + 1], pairs[n + 2] = keys[key + i], args[arg + i]
    n = n + 2
  end
  redis.call('MSET', unpack(pairs))
end
key, arg = key + stay, arg + stay
for i = 1, ttl do
  redis.call('SET', KEYS[key + i], ARGV[arg + 2], 'PX', ARGV[arg + 1])
  arg = arg + 2
end
key = key + ttl
for i = 1, front do
  local length = redis.call('SETRANGE', KEYS[key + i], 0, ARGV[arg + 2])
  -- rule: length
  if length ~= tonumber(ARGV[arg + 1]) then
    redis.call('DEL', KEYS[key + i])
    return {found, i, length}
  end
  arg = arg + 2
end
key = key + front
if append >= 0 then
  redis.call('SET', KEYS[key + 1], ARGV[arg + 1])
  key, arg = key + 1, arg + 1
  for i = 1, append do
    redis.call('APPEND', KEYS[key + i], ARGV[arg + i])
  end
  key = key + append
end
for i = key + 1, #KEYS do
  redis.call('DEL', KEYS[i])
end
redis.call('SET', KEYS[1], ARGV[2])
return 1
