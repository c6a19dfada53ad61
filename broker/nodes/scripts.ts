/** What Redis does in one step each: the lease, the log and its members (docs/decisions/0008-nodes.md). */

/**
 * KEYS: meta (hash), log (stream), lease (string that expires), members (hash).
 * `meta`: `format` is that of these keys; `lineage` names the cluster's state from its beginning; `epoch` is that of the
 * last lease; `position` and `tail_epoch` are those of the last entry; `base` is the entry before the log's first one.
 * `members`, by name: the position of its copy, when it said so, its process, or `-` once that has left, and the epoch of
 * that position.
 * An entry's id in the stream is `position-epoch`, so that the stream itself keeps their order.
 */
const head = `
local meta, log, lease, members = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local function number(text) return tonumber(text or '0') end
local function id(position, epoch) return string.format('%.0f-%.0f', position, epoch) end
local kind = redis.call('TYPE', meta).ok
if kind ~= 'none' and kind ~= 'hash' then return redis.error_reply('PLOMBE ' .. meta .. ' is not of a cluster') end
local state = redis.call('HMGET', meta, 'lineage', 'epoch', 'position', 'tail_epoch', 'base', 'format')
if state[6] and state[6] ~= '1' then
  return redis.error_reply('PLOMBE ' .. meta .. ' is of another version of this program: format ' .. state[6])
end
local lineage, epoch, position, tailEpoch, base = state[1], number(state[2]), number(state[3]), number(state[4]), state[5]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
-- A clock that was set back makes nobody present for ever.
local function isRecent(said, leaseMs) return math.abs(now - number(said)) <= number(leaseMs) end
local function say(node, at, process, atEpoch)
  redis.call('HSET', members, node, string.format('%.0f %.0f %s %.0f', at, now, process, atEpoch))
end
`;

/** ARGV: lineage, position, epoch. The log begins, after a copy's last entry. */
export const foundScript = `${head}
if lineage then return lineage end
redis.call('DEL', log)
redis.call('HSET', meta, 'format', '1', 'lineage', ARGV[1], 'epoch', ARGV[3], 'position', ARGV[2], 'tail_epoch', ARGV[3],
  'base', id(number(ARGV[2]), number(ARGV[3])))
return ARGV[1]`;

/**
 * ARGV: node, lineage, position, epoch, address, lease in milliseconds, its claim, process.
 * Reports how far a node's copy is, and asks for the lease. Whoever leads has the last entry, or is the only one that
 * can have more: entries of the last epoch, or of a later one than Redis remembers, were its own and answered by nobody,
 * or Redis was set back; then whoever was active is to come first, or else whoever has the most of those who are there. A
 * name is one process's for as long as that goes on saying so.
 */
export const campaignScript = `${head}
if not lineage then return {'unfounded'} end
local holder = redis.call('GET', lease)
local seen, process = string.match(redis.call('HGET', members, ARGV[1]) or '', '^%d+ (%d+) (%S+)')
if seen and process ~= '-' and process ~= ARGV[8] and isRecent(seen, ARGV[6]) then
  return {'namesake'}
end
if lineage ~= ARGV[2] then return {'foreign', holder or ''} end
local mine, mineEpoch = number(ARGV[3]), number(ARGV[4])
local place = id(mine, mineEpoch)
say(ARGV[1], mine, ARGV[8], mineEpoch)
local known = (mine == position and mineEpoch == tailEpoch) or place == base
  or #redis.call('XRANGE', log, place, place, 'COUNT', 1) > 0
local isAhead = mineEpoch > epoch or mineEpoch > tailEpoch or (mineEpoch == tailEpoch and mine > position)
local report = {holder and 'held' or 'open', holder or '', known and '1' or '0', position, isAhead and '1' or '0',
  tailEpoch}
if holder or ARGV[7] == 'none' or (isAhead and ARGV[7] ~= 'any') then return report end
local function isMore(at, atEpoch) return mineEpoch < atEpoch or (mineEpoch == atEpoch and mine < at) end
if isMore(position, tailEpoch) then return report end
local all = redis.call('HGETALL', members)
for index = 2, #all, 2 do
  local at, said, by, atEpoch = string.match(all[index], '^(%d+) (%d+) (%S+) (%d+)$')
  local isThere = at and by ~= '-' and isRecent(said, ARGV[6])
  if isThere and isMore(number(at), number(atEpoch)) then return report end
end
-- A Redis that was set back may know of fewer epochs than there were, and none comes twice: its clock has gone on.
epoch = math.max(epoch, mineEpoch, now - 1) + 1
redis.call('HSET', meta, 'epoch', string.format('%.0f', epoch))
if not (mine == position and mineEpoch == tailEpoch) then
  redis.call('DEL', log)
  redis.call('HSET', meta, 'position', mine, 'tail_epoch', mineEpoch, 'base', place)
end
redis.call('SET', lease, cjson.encode({node = ARGV[1], address = ARGV[5], epoch = epoch}), 'PX', ARGV[6])
return {'acquired', epoch}`;

/** ARGV: lineage, epoch, node, address, lease in milliseconds, position, process. */
export const renewScript = `${head}
if not lineage or (lineage == ARGV[1] and epoch < number(ARGV[2])) then return {'unfounded'} end
if lineage ~= ARGV[1] or epoch ~= number(ARGV[2]) then return {'fenced'} end
redis.call('SET', lease, cjson.encode({node = ARGV[3], address = ARGV[4], epoch = epoch}), 'PX', ARGV[5])
say(ARGV[3], number(ARGV[6]), ARGV[7], epoch)
return {'ok', position}`;

/** ARGV: lineage, node, position. Its name is free again, and its claim to the log stays. */
export const leaveScript = `${head}
if lineage == ARGV[1] then say(ARGV[2], number(ARGV[3]), '-', 0) end
return {'ok'}`;

/** ARGV: lineage, epoch. Whoever waits may have it at once. */
export const releaseScript = `${head}
if lineage == ARGV[1] and epoch == number(ARGV[2]) then redis.call('DEL', lease) end
return {'ok'}`;

/**
 * ARGV: lineage, epoch, position of the first entry, entries. Twice is as good as once. A Redis that does not know the
 * epoch has lost more than entries.
 */
export const appendScript = `${head}
if not lineage or (lineage == ARGV[1] and epoch < number(ARGV[2])) then return {'unfounded'} end
if lineage ~= ARGV[1] or epoch ~= number(ARGV[2]) then return {'fenced'} end
local first = number(ARGV[3])
if position + 1 < first then return {'behind', position} end
local last = first + #ARGV - 4
for at = math.max(first, position + 1), last do
  redis.call('XADD', log, id(at, epoch), 'e', ARGV[at - first + 4])
end
if last > position then redis.call('HSET', meta, 'position', last, 'tail_epoch', epoch) end
return {'ok'}`;

/**
 * ARGV: lineage, epoch, position, epoch of that position. Redis has lost entries that a node has confirmed, and the
 * node has them no more: the log begins anew after its copy.
 */
export const rebaseScript = `${head}
if not lineage or (lineage == ARGV[1] and epoch < number(ARGV[2])) then
  redis.call('HSET', meta, 'format', '1', 'lineage', ARGV[1], 'epoch', ARGV[2])
elseif lineage ~= ARGV[1] or epoch ~= number(ARGV[2]) then
  return {'fenced'}
end
redis.call('DEL', log)
redis.call('HSET', meta, 'position', ARGV[3], 'tail_epoch', ARGV[4], 'base', id(number(ARGV[3]), number(ARGV[4])))
return {'ok'}`;

/**
 * ARGV: lineage, epoch, entries at most, bytes at most, milliseconds after which a silent member has no claim, and the
 * first entry that somebody without a claim needs, or '' for nobody.
 * Keeps each member's last entry, for that is how it knows that its copy belongs to this log.
 */
export const trimScript = `${head}
if lineage ~= ARGV[1] or epoch ~= number(ARGV[2]) then return {0, 0} end
local needed = math.min(position, tonumber(ARGV[6]) or position)
local all = redis.call('HGETALL', members)
for index = 1, #all, 2 do
  local at, seen = string.match(all[index + 1], '^(%d+) (%d+)')
  if now - number(seen) > number(ARGV[5]) then redis.call('HDEL', members, all[index])
  else needed = math.min(needed, number(at)) end
end
local trimmed = redis.call('XTRIM', log, 'MINID', id(needed, 0))
trimmed = trimmed + redis.call('XTRIM', log, 'MAXLEN', ARGV[3])
local bytes = redis.call('MEMORY', 'USAGE', log) or 0
if bytes > number(ARGV[4]) then
  trimmed = trimmed + redis.call('XTRIM', log, 'MAXLEN', math.floor(redis.call('XLEN', log) / 2))
end
local first = redis.call('XRANGE', log, '-', '+', 'COUNT', 1)[1]
return {trimmed, first and string.match(first[1], '^%d+') or position}`;
