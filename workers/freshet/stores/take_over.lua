#!lua
-- Makes the caller the owner of a partition (design §6.5): a new token, seq 0, the offset as it stands.
-- KEYS: progress, source, duplicate index, then the buckets that the index names if there is nothing to go on from
-- ARGV: new token; offset to start at, source to note and phase (0 incomplete, 2 restoring) if there is nothing to go
--       on from; the duplicate index as the caller saw it
-- Returns {progress, source, duplicate index, 1 if progress was made anew}.
local found = redis.call('GET', KEYS[1])
local created = 0
local place
-- rule: restoring. Phase 2: only some of the states are here, so it is as if there were none.
if found and not string.match(found, '^%w+:%d+:%d+:2$') then
  place = string.match(found, '^%w+:%d+:(%d+:[01])$')
  if not place then
    return redis.error_reply('FENCE progress is not token:seq:offset:phase')
  end
else
  -- Without progress the duplicate filter belongs to a log position that nobody knows any more.
  if (redis.call('GET', KEYS[3]) or '') ~= ARGV[5] then
    return redis.error_reply('FENCE the duplicate filter changed during the take-over: try again')
  end
  for i = 3, #KEYS do
    redis.call('DEL', KEYS[i])
  end
  redis.call('SETNX', KEYS[2], ARGV[3])
  place = ARGV[2] .. ':' .. ARGV[4]
  created = 1
end
-- rule: token
local progress = ARGV[1] .. ':0:' .. place
redis.call('SET', KEYS[1], progress)
return {progress, redis.call('GET', KEYS[2]), redis.call('GET', KEYS[3]), created}
