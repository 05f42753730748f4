-- Removes letters of one stream. KEYS: epochs, stream, failures, tables. ARGV: pipeline, epoch, table, then the ids.
local newest = redis.call('HGET', KEYS[1], ARGV[1])
if newest and newest > ARGV[2] then return 'fenced:' .. newest end
if newest ~= ARGV[2] then redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) end
local removed = 0
for i = 4, #ARGV do
    removed = removed + redis.call('XDEL', KEYS[2], ARGV[i])
    redis.call('HDEL', KEYS[3], ARGV[i])
end
if redis.call('XLEN', KEYS[2]) == 0 then
    redis.call('DEL', KEYS[2], KEYS[3])
    redis.call('SREM', KEYS[4], ARGV[3])
end
return 'ok:' .. removed
