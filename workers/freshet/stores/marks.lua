#!lua flags=no-writes
-- What a partition's states and duplicate filter are as of one moment.
-- KEYS: progress, source, duplicate index, then buckets of the filter
-- Returns {progress, source, duplicate index, length of each bucket}.
local found = {redis.call('GET', KEYS[1]), redis.call('GET', KEYS[2]), redis.call('GET', KEYS[3])}
for i = 4, #KEYS do
  found[i] = redis.call('STRLEN', KEYS[i])
end
return found
