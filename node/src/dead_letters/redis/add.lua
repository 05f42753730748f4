-- Adds letters to one stream. KEYS: epochs, stream, failures, tables.
-- ARGV: pipeline, epoch, table, then eight for each letter: id, operation, shape, epoch, added at, old, new, failure.
local newest = redis.call('HGET', KEYS[1], ARGV[1])
if newest and newest > ARGV[2] then return 'fenced:' .. newest end
if newest ~= ARGV[2] then redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) end
redis.call('SADD', KEYS[4], ARGV[3])

-- A stream only grows at its end: to put an entry elsewhere, it is written anew.
local function insert(id, fields)
    if redis.call('XLEN', KEYS[2]) > 50000 then
        return redis.error_reply('ERR a letter belongs before letters of a long stream')
    end
    local others = redis.call('XRANGE', KEYS[2], '-', '+')
    local after = redis.call('XRANGE', KEYS[2], id, '+', 'COUNT', 1)[1]
    redis.call('DEL', KEYS[2])
    for _, entry in ipairs(others) do
        if after and entry[1] == after[1] then redis.call('XADD', KEYS[2], id, unpack(fields)) end
        redis.call('XADD', KEYS[2], entry[1], unpack(entry[2]))
    end
    if not after then redis.call('XADD', KEYS[2], id, unpack(fields)) end
    return id
end

for i = 4, #ARGV, 8 do
    local id, failure = ARGV[i], ARGV[i + 7]
    local fields = { 'op', ARGV[i + 1], 'shape', ARGV[i + 2], 'epoch', ARGV[i + 3], 'at', ARGV[i + 4],
        'old', ARGV[i + 5], 'new', ARGV[i + 6] }
    local added = redis.pcall('XADD', KEYS[2], id, unpack(fields))
    if type(added) == 'table' and added.err then
        if not string.find(added.err, 'equal or smaller', 1, true) then return added end
        if #redis.call('XRANGE', KEYS[2], id, id) == 0 then
            added = insert(id, fields)
            if type(added) == 'table' and added.err then return added end
        end
    end
    if failure ~= '' then
        redis.call('HSET', KEYS[3], id, failure)
    else
        redis.call('HDEL', KEYS[3], id)
    end
end
return 'ok:0'
