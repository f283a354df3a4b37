// The scripts that make each step of the Redis sink atomic: check the fence, then write. All keys of a call share
// the hash tag {NAME} and are declared.
//
// {NAME}:fence is a hash:
//   job          job id, 16 hex digits
//   incarnation  of the job; below 0 while all is being removed: then nobody's publication applies
//   tables       of the job, so that whoever takes the name over can remove their keys: "NAME:FORM:RANK ...". In its
//                place `values` and `rank`, the suffixes of one table, as they were written before there were several
//   size         keys of the first table's hash (and of its rank of all keys) after the last write: where there are
//                more or fewer, somebody else added some or took them away, as by DEL, FLUSH, eviction or HDEL
//   size:NAME    the same of another table
//   p<N>         of state partition N: "incarnation generation open done attempt next"; `attempt` and `next` (chunk)
//                let a chunk apply only after the one before it, whatever broke in between
//   round        of the ranks and status: "incarnation epoch generation batch"
//
// Beside its hash a table of strings has {NAME}:TABLE:KEY, the key's text, and an index the sorted set of the key's
// members with their counts: objects, which are written and removed in the call that writes and removes the key's
// field. By these fields they are found when all goes. One that is lost alone is not noticed: a text is there again
// when it next changes, of a sorted set only what changes, until all is published. Where the hash is lost, objects of
// keys that the job has no more then stay.
//
// Only the claim writes job and incarnation; where they are not those of the writer, the others write nothing.
//
// What is noticed of keys that were lost or changed by hand: the fence as a whole; values by their number, table by
// table; a rank of the highest by its number and by `round`; the status is written anew in each round. Not noticed: a
// value that was overwritten in place, until its key is next published.
//
// Scripts answer a code (one for each part, where they have several), or the id of the other job that the keys belong
// to.
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
  kObjectsLeft = 8,  // nothing was done: objects of keys have to go first, by kClear
};

// What some state partitions publish, each a part by itself, under its own fence: what is refused of one is no matter
// of the others, and where an error ends the script in the middle, the parts before are as good as if each had come
// alone. Answers the code of each part, or one code for all.
//
// KEYS fence, then of each table its hash [, its rank of all keys], then of each part the objects of keys, in the order
//      of what is done with them
// ARGV 1 job, 2 incarnation, 3 number of tables, 4 number of parts, then the field of the size of each table, the field
//      of each part's partition, and of each table: 1 if it has a rank of all keys, its form (0 hash, 1 strings,
//      2 index); then of each part: generation, since, batch, full, attempt, chunk, last, number of its objects, number
//      of what follows of it, then of each table: number of HSET arguments, of keys to remove, of keys whose members
//      change; then of each table the arguments of HSET (key, text), of ZADD to the rank (score, key), the keys to
//      remove, and for each key with members: number of ZADD arguments, of members to remove, the arguments of ZADD
//      (count, member), and the members to remove
inline constexpr char kPublish[] = R"lua(
local tables, parts = tonumber(ARGV[3]), tonumber(ARGV[4])
local stored = redis.call('HMGET', KEYS[1], 'job', 'incarnation', unpack(ARGV, 5, 4 + tables + parts))
local job, incarnation = stored[1], tonumber(ARGV[2])
if not job then return 3 end
if job ~= ARGV[1] then return job end
if tonumber(stored[2]) > incarnation then return 2 end
if tonumber(stored[2]) < incarnation then return 3 end
local said, key = 4 + tables + parts, 2
local hashes, ranks, forms, held, whole = {}, {}, {}, 0, true
for t = 1, tables do
  hashes[t], key = KEYS[key], key + 1
  if ARGV[said + 1] == '1' then ranks[t], key = KEYS[key], key + 1 end
  forms[t], said = ARGV[said + 2], said + 2
  local size, keys = tonumber(stored[2 + t]), redis.call('HLEN', hashes[t])
  if keys ~= size or (ranks[t] and redis.call('ZCARD', ranks[t]) ~= size) then whole = false end
  held = held + keys
end

-- What a part may do by its fence: 0 write; and the numbers of the fence that stay.
local function judge(field, at)
  local generation, batch, full = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 3]), ARGV[at + 4] == '1'
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
  if not whole then return 3 end
  local same = field and held_incarnation == incarnation and held_generation == generation
  if same and done >= batch then return 1 end
  if same and open > batch then return 2 end
  if not full and done < tonumber(ARGV[at + 2]) then return 3 end
  local chunk = tonumber(ARGV[at + 6])
  if chunk > 0 and not (same and open == batch and attempt == ARGV[at + 5] and next == chunk) then return 4 end
  return 0, done
end

-- at: before the numbers of the first table.
local function write(at, key, full, notes)
  local counts = at
  at = at + 3 * tables
  for t = 1, tables do
    local form, values, gone = forms[t], tonumber(ARGV[counts + 1]), tonumber(ARGV[counts + 2])
    if values > 0 then
      redis.call('HSET', hashes[t], unpack(ARGV, at + 1, at + values))
      if form == '1' then
        for text = at + 2, at + values, 2 do
          redis.call('SET', KEYS[key], ARGV[text])
          key = key + 1
        end
      elseif form == '2' and full then
        redis.call('UNLINK', unpack(KEYS, key, key + values / 2 - 1))
        key = key + values / 2
      end
      at = at + values
      if ranks[t] then
        redis.call('ZADD', ranks[t], unpack(ARGV, at + 1, at + values))
        at = at + values
      end
    end
    if gone > 0 then
      redis.call('HDEL', hashes[t], unpack(ARGV, at + 1, at + gone))
      if ranks[t] then redis.call('ZREM', ranks[t], unpack(ARGV, at + 1, at + gone)) end
      if form ~= '0' then
        redis.call('UNLINK', unpack(KEYS, key, key + gone - 1))
        key = key + gone
      end
      at = at + gone
    end
    for _ = 1, tonumber(ARGV[counts + 3]) do
      local scores, dropped = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
      at = at + 2
      if scores > 0 then redis.call('ZADD', KEYS[key], unpack(ARGV, at + 1, at + scores)) end
      at = at + scores
      if dropped > 0 then redis.call('ZREM', KEYS[key], unpack(ARGV, at + 1, at + dropped)) end
      at = at + dropped
      key = key + 1
    end
    if values + gone > 0 then
      notes[#notes + 1] = ARGV[4 + t]
      notes[#notes + 1] = redis.call('HLEN', hashes[t])
    end
    counts = counts + 3
  end
end

local codes = {}
for p = 1, parts do
  local field, full, chunk = stored[2 + tables + p], ARGV[said + 4] == '1', tonumber(ARGV[said + 6])
  local code, done = judge(field, said)
  if code == 0 then
    if chunk == 0 and full and field and held > 0 then code = 5 end
    local batch, attempt = ARGV[said + 3], ARGV[said + 5]
    local reached = ARGV[said + 7] == '1' and batch or string.format('%.0f', full and 0 or done)
    local notes = {ARGV[4 + tables + p], table.concat({ARGV[2], ARGV[said + 1], batch, reached, attempt,
                                                       string.format('%.0f', chunk + 1)}, ' ')}
    write(said + 9, key, full, notes)
    redis.call('HSET', KEYS[1], unpack(notes))
  end
  codes[p] = code
  key = key + tonumber(ARGV[said + 8])
  said = said + 9 + tonumber(ARGV[said + 9])
end
return codes
)lua";

// KEYS fence, status, then the hash of each table, then the ranks that are written here
// ARGV 1 job, 2 incarnation, 3 epoch, 4 generation, 5 batch, 6 the `round` that the ranks' differences build on, or
//      "": they are whole, 7 number of HSET arguments, 8 number of state partitions, 9 number of tables, then the field
//      of the size of each; then the number of ranks, then of each: the size that it has in that round, number of ZADD
//      arguments, of keys to remove; then the arguments of HSET (field, text), then of each rank those of ZADD (score,
//      key) and the keys to remove
inline constexpr char kEndRound[] = R"lua(
local tables = tonumber(ARGV[9])
local stored = redis.call('HMGET', KEYS[1], 'job', 'incarnation', 'round', unpack(ARGV, 10, 9 + tables))
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
for t = 1, tables do
  if redis.call('HLEN', KEYS[2 + t]) ~= tonumber(stored[3 + t]) then return 3 end
end
local last = tonumber(ARGV[8]) - 1
for first = 0, last, 1000 do
  local fields = {}
  for p = first, math.min(first + 999, last) do fields[#fields + 1] = string.format('p%.0f', p) end
  for _, field in ipairs(redis.call('HMGET', KEYS[1], unpack(fields))) do
    if not field then return 3 end
    local i, done = string.match(field, '^(%d+) %d+ %d+ (%d+) ')
    if tonumber(i) ~= incarnation or tonumber(done) < batch then return 3 end
  end
end
local ranks, said, whole = tonumber(ARGV[10 + tables]), 11 + tables, ARGV[6] == ''
if not whole and ranks > 0 then
  if round ~= ARGV[6] then return 6 end
  for r = 1, ranks do
    if redis.call('ZCARD', KEYS[2 + tables + r]) ~= tonumber(ARGV[said + 3 * (r - 1)]) then return 6 end
  end
end
redis.call('HSET', KEYS[1], 'round', ARGV[2] .. ' ' .. ARGV[3] .. ' ' .. ARGV[4] .. ' ' .. ARGV[5])
redis.call('DEL', KEYS[2])
local function slices(command, key, first, last)
  for i = first, last, 4000 do redis.call(command, key, unpack(ARGV, i, math.min(i + 3999, last))) end
end
local at = said + 3 * ranks
slices('HSET', KEYS[2], at, at + tonumber(ARGV[7]) - 1)
at = at + tonumber(ARGV[7])
for r = 1, ranks do
  local key = KEYS[2 + tables + r]
  local scores, gone = tonumber(ARGV[said + 3 * r - 2]), tonumber(ARGV[said + 3 * r - 1])
  if whole then redis.call('DEL', key) end
  slices('ZADD', key, at, at + scores - 1)
  slices('ZREM', key, at + scores, at + scores + gone - 1)
  at = at + scores + gone
end
return 0
)lua";

// A claim of the job's own keys keeps what is there, but where a part of it is lost: all goes then, so that every
// partition is asked for all its values. So it is where a key is of another type, as of a table that has the name of a
// former rank. The status says whose values they are that have lost their fence.
//
// KEYS fence, status, then the hash of each table, then its rank of all keys or the fence if it has none, then all
//      other keys that the name may hold, last of all those that only the tables in the fence have
// ARGV 1 job, 2 incarnation, 3 take over, 4 the job id that was seen in the fence, or "", 5 the tables that were seen
//      there, or "", 6 the job's tables, 7 number of keys before those of the fence's tables only, 8 number of tables,
//      then of each the field of its size, and the field that it has in the fence, or ""; then 1 if there are objects
//      of a table that the job has no more, then where the hashes of tables with objects stand among KEYS
inline constexpr char kClaim[] = R"lua(
local stored = redis.call('HMGET', KEYS[1], 'job', 'incarnation', 'tables')
local job, tables, own_keys = stored[1], tonumber(ARGV[8]), tonumber(ARGV[7])
if (job or '') ~= ARGV[4] or (stored[3] or '') ~= ARGV[5] then return 4 end
local sizes = {}
for t = 1, tables do sizes[t] = 0 end
local all = false
if job == ARGV[1] then
  if math.abs(tonumber(stored[2])) > tonumber(ARGV[2]) then return 2 end
  all = tonumber(stored[2]) < 0 or ARGV[9 + 2 * tables] == '1'
  for t = 1, tables do
    local field, rank = ARGV[8 + 2 * t], KEYS[2 + tables + t]
    if field ~= '' then sizes[t] = tonumber(redis.call('HGET', KEYS[1], field)) end
    if redis.pcall('HLEN', KEYS[2 + t]) ~= sizes[t] then all = true end
    if rank ~= KEYS[1] and redis.pcall('ZCARD', rank) ~= sizes[t] then all = true end
  end
  if not all and #KEYS > own_keys then redis.call('UNLINK', unpack(KEYS, own_keys + 1)) end
elseif redis.call('EXISTS', unpack(KEYS)) > 0 then
  local own = not job and redis.pcall('HGET', KEYS[2], 'job_id') == ARGV[1]
  if ARGV[3] ~= '1' and not own then return job or 7 end
  all = true
end
if all then
  for i = 10 + 2 * tables, #ARGV do
    local keys = redis.pcall('HLEN', KEYS[tonumber(ARGV[i])])
    if type(keys) == 'number' and keys > 0 then return 8 end
  end
  redis.call('UNLINK', unpack(KEYS))
  for t = 1, tables do sizes[t] = 0 end
end
local notes = {'job', ARGV[1], 'incarnation', ARGV[2], 'tables', ARGV[6]}
for t = 1, tables do
  notes[5 + 2 * t] = ARGV[7 + 2 * t]
  notes[6 + 2 * t] = sizes[t]
end
redis.call('HSET', KEYS[1], unpack(notes))  -- first: once a script has written, memory is not refused to it any more
redis.call('HDEL', KEYS[1], 'values', 'rank')
return 0
)lua";

// KEYS fence, then all keys that the name may hold
// ARGV 1 job, then where the hashes of tables with objects stand among KEYS
inline constexpr char kPurge[] = R"lua(
if redis.call('HGET', KEYS[1], 'job') ~= ARGV[1] then return 0 end
for i = 2, #ARGV do
  if redis.call('HLEN', KEYS[tonumber(ARGV[i])]) > 0 then return 8 end
end
redis.call('UNLINK', unpack(KEYS))
return 0
)lua";

// Removes some objects, before all goes: with their fields of the hash, so that whoever carries on finds the others.
// Nobody publishes any more from here to the next claim.
//
// KEYS fence, hash, then the objects; ARGV 1 the job id that was seen in the fence, or "", then the fields
inline constexpr char kClear[] = R"lua(
local stored = redis.call('HMGET', KEYS[1], 'job', 'incarnation')
if (stored[1] or '') ~= ARGV[1] then return 4 end
redis.call('HSET', KEYS[1], 'incarnation', string.format('%.0f', -math.abs(tonumber(stored[2] or '1'))))
redis.call('UNLINK', unpack(KEYS, 3))
redis.call('HDEL', KEYS[2], unpack(ARGV, 2))
return 0
)lua";

}  // namespace millrace::redis_scripts
