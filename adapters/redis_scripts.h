// The scripts that make each step of the Redis sink atomic: check the fence, then write. All keys of a call share
// the hash tag {NAME} and are declared.
//
// {NAME}:fence is a hash:
//   job          job id, 16 hex digits
//   incarnation  of the job
//   values, rank the suffixes of the job's keys, so that whoever takes the name over can remove them
//   size         keys of the values' hash (and of a rank of all keys) after the last write: another number there says
//                that somebody else took keys away or added some, as by DEL, FLUSH, eviction or HDEL
//   p<N>         of state partition N: "incarnation generation open done attempt next"; `attempt` and `next` (chunk)
//                let a chunk apply only after the one before it, whatever broke in between
//   round        of the rank and status: "incarnation epoch generation batch"
//
// Only the claim writes job and incarnation; where they are not those of the writer, the others write nothing.
//
// What is noticed of keys that were lost or changed by hand: the fence as a whole; values by their number; a rank of
// the highest by its number and by `round`; the status is written anew in each round. Not noticed: a value that was
// overwritten in place, until its key is next published.
//
// Scripts answer a code, or the id of the other job that the keys belong to.
#pragma once

namespace millrace::redis_scripts {

enum Code : long long {
  kApplied = 0,
  kAlreadyDone = 1,
  kFencedOut = 2,
  kLost = 3,
  kGap = 4,          // an earlier chunk is missing, or somebody else came between: start again
  kAppliedOver = 5,  // as kApplied, by the first chunk of a full publication: older keys may be there
  kRankUnknown = 6,  // the rank is not the one that the difference builds on
  kUnowned = 7,      // there are keys of this name, but no fence
};

// KEYS fence, values [, rank]
// ARGV 1 job, 2 incarnation, 3 field of the partition, 4 generation, 5 since, 6 batch, 7 full, 8 attempt, 9 chunk,
//      10 last, 11 number of HSET arguments, 12 number of ZADD arguments; then the arguments of HSET (key, text),
//      of ZADD (score, key), and the keys to remove
inline constexpr char kPublish[] = R"lua(
local stored = redis.call('HMGET', KEYS[1], 'job', 'incarnation', ARGV[3], 'size')
local job, field = stored[1], stored[3]
local full, chunk, batch = ARGV[7] == '1', tonumber(ARGV[9]), tonumber(ARGV[6])
local incarnation, generation = tonumber(ARGV[2]), tonumber(ARGV[4])
if not job then return 3 end
if job ~= ARGV[1] then return job end
if tonumber(stored[2]) > incarnation then return 2 end
if tonumber(stored[2]) < incarnation then return 3 end
local held_incarnation, held_generation, open, done, attempt, next = 0, 0, 0, 0, '', 0
if field then
  local i, g, o, d, a, n = string.match(field, '^(%d+) (%d+) (%d+) (%d+) (%d+) (%d+)$')
  held_incarnation, held_generation, open, done, attempt, next =
    tonumber(i), tonumber(g), tonumber(o), tonumber(d), a, tonumber(n)
  if held_incarnation < incarnation then
    if not full then return 3 end
    held_generation, open, done, next = 0, 0, 0, 0
  end
end
if held_generation > generation then return 2 end
local held = redis.call('HLEN', KEYS[2])
local size = tonumber(stored[4])
if held ~= size or (KEYS[3] and redis.call('ZCARD', KEYS[3]) ~= size) then return 3 end
local same = field and held_incarnation == incarnation and held_generation == generation
if same and done >= batch then return 1 end
if same and open > batch then return 2 end
if not full and done < tonumber(ARGV[5]) then return 3 end
if chunk > 0 and not (same and open == batch and attempt == ARGV[8] and next == chunk) then return 4 end
local prefix = ARGV[2] .. ' ' .. ARGV[4] .. ' ' .. ARGV[6] .. ' '
local before = string.format('%.0f ', done) .. ARGV[8] .. ' '
local answer = 0
if chunk == 0 then
  if full and field and held > 0 then answer = 5 end
end
local at = 12
local values, scores = tonumber(ARGV[11]), tonumber(ARGV[12])
if values > 0 then redis.call('HSET', KEYS[2], unpack(ARGV, at + 1, at + values)) end
at = at + values
if scores > 0 then redis.call('ZADD', KEYS[3], unpack(ARGV, at + 1, at + scores)) end
at = at + scores
if #ARGV > at then
  redis.call('HDEL', KEYS[2], unpack(ARGV, at + 1, #ARGV))
  if KEYS[3] then redis.call('ZREM', KEYS[3], unpack(ARGV, at + 1, #ARGV)) end
end
if ARGV[10] == '1' then before = ARGV[6] .. ' ' .. ARGV[8] .. ' ' end
redis.call('HSET', KEYS[1], ARGV[3], prefix .. before .. string.format('%.0f', chunk + 1),
           'size', redis.call('HLEN', KEYS[2]))
return answer
)lua";

// KEYS fence, status, values [, rank]
// ARGV 1 job, 2 incarnation, 3 epoch, 4 generation, 5 batch, 6 mode of the rank (keep, replace, change),
//      7 for change: the `round` that it builds on, 8 and the size that the rank has then,
//      9 number of HSET arguments, 10 number of ZADD arguments, 11 number of state partitions; then the arguments of
//      HSET (field, text), of ZADD (score, key), and the keys to remove from the rank
inline constexpr char kEndRound[] = R"lua(
local stored = redis.call('HMGET', KEYS[1], 'job', 'incarnation', 'round', 'size')
local job, round = stored[1], stored[3]
local incarnation, batch = tonumber(ARGV[2]), tonumber(ARGV[5])
if not job then return 3 end
if job ~= ARGV[1] then return job end
if tonumber(stored[2]) > incarnation then return 2 end
if tonumber(stored[2]) < incarnation then return 3 end
if round then
  local position = 2
  for held in string.gmatch(round, '%d+') do
    local mine = tonumber(ARGV[position])
    if tonumber(held) > mine then return 2 end
    if tonumber(held) < mine then break end
    position = position + 1
  end
end
if redis.call('HLEN', KEYS[3]) ~= tonumber(stored[4]) then return 3 end
for p = 0, tonumber(ARGV[11]) - 1 do
  local field = redis.call('HGET', KEYS[1], string.format('p%.0f', p))
  if not field then return 3 end
  local i, done = string.match(field, '^(%d+) %d+ %d+ (%d+) ')
  if tonumber(i) ~= incarnation or tonumber(done) < batch then return 3 end
end
if ARGV[6] == 'change' and (round ~= ARGV[7] or redis.call('ZCARD', KEYS[4]) ~= tonumber(ARGV[8])) then return 6 end
redis.call('HSET', KEYS[1], 'round', ARGV[2] .. ' ' .. ARGV[3] .. ' ' .. ARGV[4] .. ' ' .. ARGV[5])
redis.call('DEL', KEYS[2])
local function slices(command, key, first, last)
  for i = first, last, 4000 do redis.call(command, key, unpack(ARGV, i, math.min(i + 3999, last))) end
end
local status, scores = tonumber(ARGV[9]), tonumber(ARGV[10])
slices('HSET', KEYS[2], 12, 11 + status)
if ARGV[6] == 'replace' then redis.call('DEL', KEYS[4]) end
if ARGV[6] ~= 'keep' then
  slices('ZADD', KEYS[4], 12 + status, 11 + status + scores)
  slices('ZREM', KEYS[4], 12 + status + scores, #ARGV)
end
return 0
)lua";

// A claim of the job's own keys keeps what is there, but where a part of it is lost: all goes then, so that every
// partition is asked for all its values. The status says whose values they are that have lost their fence.
//
// KEYS fence, status, values, then the other keys that the name may hold
// ARGV 1 job, 2 incarnation, 3 take over, 4 the job id that was seen in the fence, or "", 5 suffix of values,
//      6 suffix of rank, 7 the fourth key is a rank of all keys
inline constexpr char kClaim[] = R"lua(
local stored = redis.call('HMGET', KEYS[1], 'job', 'incarnation', 'size')
local job, size = stored[1], tonumber(stored[3])
if (job or '') ~= ARGV[4] then return 4 end
if job == ARGV[1] then
  if tonumber(stored[2]) > tonumber(ARGV[2]) then return 2 end
  local whole = redis.call('HLEN', KEYS[3]) == size
  if ARGV[7] == '1' and redis.call('ZCARD', KEYS[4]) ~= size then whole = false end
  if not whole then
    redis.call('UNLINK', unpack(KEYS))
    size = 0
  end
else
  size = 0
  if redis.call('EXISTS', unpack(KEYS)) > 0 then
    local own = not job and redis.pcall('HGET', KEYS[2], 'job_id') == ARGV[1]
    if ARGV[3] ~= '1' and not own then return job or 7 end
    redis.call('UNLINK', unpack(KEYS))
  end
end
redis.call('HSET', KEYS[1], 'job', ARGV[1], 'incarnation', ARGV[2], 'values', ARGV[5], 'rank', ARGV[6], 'size', size)
return 0
)lua";

// KEYS fence, then all keys that the name may hold; ARGV 1 job
inline constexpr char kPurge[] = R"lua(
if redis.call('HGET', KEYS[1], 'job') == ARGV[1] then redis.call('UNLINK', unpack(KEYS)) end
return 0
)lua";

}  // namespace millrace::redis_scripts
