#!lua
-- Makes the caller the owner of a partition (design §6.5): a new token, seq 0, the offset as it stands.
-- KEYS: progress, source, duplicate index, then the buckets that the index names
-- ARGV: new token, offset to start at if there is no progress, source to note then
-- Returns {progress, source, duplicate index, 1 if progress was made anew}.
local found = redis.call('GET', KEYS[1])
local created = 0
local place
if found then
  place = string.match(found, '^%w+:%d+:(%d+:[01])$')
  if not place then
    return redis.error_reply('FENCE progress is not token:seq:offset:complete')
  end
else
  -- Without progress the duplicate filter belongs to a log position that nobody knows any more.
  for i = 3, #KEYS do
    redis.call('DEL', KEYS[i])
  end
  redis.call('SETNX', KEYS[2], ARGV[3])
  place = ARGV[2] .. ':0'
  created = 1
end
-- rule: token
local progress = ARGV[1] .. ':0:' .. place
redis.call('SET', KEYS[1], progress)
return {progress, redis.call('GET', KEYS[2]), redis.call('GET', KEYS[3]), created}
