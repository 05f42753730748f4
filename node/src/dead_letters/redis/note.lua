-- Records why letters failed. KEYS: epochs, stream, failures. ARGV: pipeline, epoch, then two for each: id, failure.
local newest = redis.call('HGET', KEYS[1], ARGV[1])
if newest and newest > ARGV[2] then return 'fenced:' .. newest end
if newest ~= ARGV[2] then redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) end
for i = 3, #ARGV, 2 do
    if #redis.call('XRANGE', KEYS[2], ARGV[i], ARGV[i]) > 0 then
        redis.call('HSET', KEYS[3], ARGV[i], ARGV[i + 1])
    end
end
return 'ok:0'
