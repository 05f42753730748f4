-- Records how far a lane was spilled, or ends its spill. KEYS: epochs, spills.
-- ARGV: pipeline, epoch, worker, since; then from ('' for a beginning) and to; or nothing, to end it.
local newest = redis.call('HGET', KEYS[1], ARGV[1])
if newest and newest > ARGV[2] then return 'fenced:' .. newest end
if newest ~= ARGV[2] then redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) end
if #ARGV < 6 then
    redis.call('HDEL', KEYS[2], ARGV[3])
    return 'ok:0'
end
local stored = redis.call('HGET', KEYS[2], ARGV[3])
local stored_end = stored and string.match(stored, '^(%d+) ') or ''
if stored_end ~= ARGV[5] and stored_end ~= ARGV[6] then return 'forgotten:0' end
redis.call('HSET', KEYS[2], ARGV[3], ARGV[6] .. ' ' .. ARGV[4])
return 'ok:0'
