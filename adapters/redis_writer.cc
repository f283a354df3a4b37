#include "adapters/redis_writer.h"

#include <hiredis/hiredis.h>

#include <algorithm>
#include <array>
#include <span>
#include <unordered_set>
#include <utility>

#include "adapters/redis_arguments.h"
#include "adapters/redis_scripts.h"
#include "common/base/check.h"

namespace millrace {
namespace {

using redis_scripts::Code;

constexpr std::array<std::string_view, 3> kForms = {"hash", "strings", "index"};

// As the fence keeps it: "NAME:FORM:RANK ..."
std::string text_of(const SinkLayout& layout) {
  std::string text;
  for (const TablePlan& table : layout) {
    const std::string_view form = kForms.at(static_cast<size_t>(table.form));
    text += (text.empty() ? "" : " ") + table.name + ":" + std::string(form) + ":" + table.rank;
  }
  return text;
}
SinkLayout layout_from(std::string_view text) {
  SinkLayout layout;
  while (!text.empty()) {
    const std::string_view one = text.substr(0, text.find(' '));
    text.remove_prefix(std::min(one.size() + 1, text.size()));
    const size_t first = std::min(one.find(':'), one.size());
    const size_t second = std::min(one.find(':', first + 1), one.size());
    TablePlan& table = layout.emplace_back();
    table.name = one.substr(0, first);
    const auto form = std::ranges::find(kForms, one.substr(std::min(first + 1, second), second - first - 1));
    if (form != kForms.end()) table.form = static_cast<TableForm>(form - kForms.begin());
    table.rank = one.substr(std::min(second + 1, one.size()));
  }
  return layout;
}

std::string text_of(const redisReply& reply) {
  return reply.str == nullptr ? std::string() : std::string(reply.str, static_cast<size_t>(reply.len));
}

}  // namespace

RedisWriter::RedisWriter(RedisAddress address, RedisSinkOptions options)
    : place_("Redis at " + address.place()),
      options_(std::move(options)),
      connection_(std::move(address), options_.timeouts,
                  {redis_scripts::kPublish, redis_scripts::kEndRound, redis_scripts::kClaim, redis_scripts::kPurge,
                   redis_scripts::kClear}) {
  CHECK(options_.chunk_entries > 0 && options_.chunk_entries <= 1000);
}

template <typename T, typename Step>
Result<T> RedisWriter::with_connection(Step step) {
  const bool was_connected = connection_.connected();
  if (auto ready = connection_.ensure(); !ready) return std::unexpected(ready.error());
  Result<T> result = step();
  const bool broke = was_connected && !connection_.connected();
  const bool unknown_script = !result && result.error().code == ErrorCode::kNotFound;
  if (broke || unknown_script) {
    connection_.drop();
    if (auto ready = connection_.ensure(); !ready) return std::unexpected(ready.error());
    result = step();
  }
  // After a failover the name may lead to the new primary, but this connection never will.
  if (!result && result.error().message.find("READONLY") != std::string::npos) connection_.drop();
  return result;
}

Error RedisWriter::describe_other_job(const std::string& job_name, const std::string& job) const {
  const std::string whose = job.empty() ? "that no job has claimed" : "of another job (" + job + ")";
  return {ErrorCode::kExists, place_ + " holds keys {" + job_name + "}:* " + whose +
                                  "; choose another --name, remove them, or submit with --take-over"};
}

// What the name may hold, by this job's tables and by those that the fence names.
struct RedisWriter::Holding {
  std::string job;     // in the fence, or ""
  std::string tables;  // as the fence has them, or ""
  SinkLayout former;
  // The fence, the status, each table's hash, its rank of all keys (or the fence once more), all other ranks, and from
  // `own` on what only the former tables have.
  std::vector<std::string> keys;
  size_t own = 0;
  // The hashes in `keys` of tables whose keys have objects; and whether the job has one of these tables no more.
  std::vector<std::string> with_objects;
  bool objects_go = false;

  // Where they stand among KEYS.
  void add_with_objects(RedisArguments& arguments) const {
    for (const std::string& hash : with_objects) arguments.add(std::ranges::find(keys, hash) - keys.begin() + 1);
  }
};

Result<RedisWriter::Holding> RedisWriter::find_holding(const SinkIdentity& identity) {
  const std::string fence = redis_key(identity, "fence");
  Result<RedisReply> reply =
      connection_.call(std::array<std::string_view, 6>{"HMGET", fence, "job", "tables", "values", "rank"});
  if (!reply) return std::unexpected(reply.error());
  if ((*reply)->type != REDIS_REPLY_ARRAY || (*reply)->elements != 4) {
    return fail(ErrorCode::kInternal, place_ + " gave an unexpected answer to HMGET");
  }
  Holding holding;
  holding.job = text_of(*(*reply)->element[0]);
  holding.tables = text_of(*(*reply)->element[1]);
  holding.former = layout_from(holding.tables);
  const std::string values = text_of(*(*reply)->element[2]);
  if (holding.former.empty() && !values.empty()) {
    holding.former.push_back({.name = values, .rank = text_of(*(*reply)->element[3])});
  }
  holding.keys = {fence, redis_key(identity, "status")};
  for (const TablePlan& table : identity.layout) holding.keys.push_back(redis_key(identity, table.name));
  for (const TablePlan& table : identity.layout) {
    holding.keys.push_back(has_rank_of_all(table) ? redis_key(identity, table.rank) : fence);
  }
  const auto add = [&](const std::string& suffix) {
    const std::string key = redis_key(identity, suffix);
    if (!suffix.empty() && std::ranges::find(holding.keys, key) == holding.keys.end()) holding.keys.push_back(key);
  };
  for (const TablePlan& table : identity.layout) add(table.rank);
  holding.own = holding.keys.size();
  for (const TablePlan& table : holding.former) add(table.name), add(table.rank);
  for (const TablePlan& table : holding.former.empty() ? identity.layout : holding.former) {
    if (!has_objects(table)) continue;
    holding.with_objects.push_back(redis_key(identity, table.name));
    holding.objects_go = holding.objects_go || std::ranges::none_of(identity.layout, [&table](const TablePlan& own) {
                           return own.name == table.name && own.form == table.form;
                         });
  }
  return holding;
}

Result<long long> RedisWriter::receive_code(const std::string& job_name) {
  Result<RedisReply> reply = connection_.receive();
  if (!reply) return std::unexpected(reply.error());
  if ((*reply)->type == REDIS_REPLY_STRING) return std::unexpected(describe_other_job(job_name, text_of(**reply)));
  if ((*reply)->type != REDIS_REPLY_INTEGER) {
    return fail(ErrorCode::kInternal, place_ + " gave an unexpected answer to a script");
  }
  return (*reply)->integer;
}

// Runs `step` until it does not ask to be run again.
template <typename Step>
Status RedisWriter::repeated(const SinkIdentity& identity, Step step) {
  for (int attempt = 0; attempt < 3; ++attempt) {
    bool again = false;
    const Result<bool> done = with_connection<bool>([&]() -> Result<bool> {
      again = false;
      if (auto status = step(again); !status) return std::unexpected(status.error());
      return true;
    });
    if (!done) return std::unexpected(done.error());
    if (!again) return {};
  }
  return fail(ErrorCode::kUnavailable,
              place_ + ": somebody else claims {" + identity.job_name + "}:* at the same time; try again");
}

Status RedisWriter::claim(const SinkIdentity& identity, bool take_over) {
  return repeated(identity, [&](bool& again) { return claim_once(identity, take_over, again); });
}

// Removes the objects of the keys, with their fields of the hashes, by which they are found.
Status RedisWriter::clear_objects(const SinkIdentity& identity, const Holding& holding) {
  for (const std::string& hash : holding.with_objects) {
    const Status cleared = walk_fields(hash, [&](std::vector<std::string> fields) -> Status {
      for (std::span<const std::string> left = fields; !left.empty();) {
        const auto some = left.first(std::min<size_t>(left.size(), 1000));  // a walk may give many more
        left = left.subspan(some.size());
        std::vector<std::string> keys = {redis_key(identity, "fence"), hash};
        for (const std::string& field : some) keys.push_back(hash + ":" + field);
        RedisArguments arguments(connection_.script(kClearScript));
        arguments.keys(keys).add(holding.job);
        for (const std::string& field : some) arguments.add(field);
        connection_.append(arguments.views());
        if (const Result<long long> code = receive_code(identity.job_name); !code) return std::unexpected(code.error());
      }
      return {};
    });
    if (!cleared) return cleared;
  }
  return {};
}

Status RedisWriter::claim_once(const SinkIdentity& identity, bool take_over, bool& again) {
  const Result<Holding> holding = find_holding(identity);
  if (!holding) return std::unexpected(holding.error());
  RedisArguments arguments(connection_.script(kClaimScript));
  arguments.keys(holding->keys).add(to_string(identity.job)).add(identity.incarnation.value()).add(take_over ? 1 : 0);
  arguments.add(holding->job).add(holding->tables).add(text_of(identity.layout));
  arguments.add(static_cast<int64_t>(holding->own)).add(static_cast<int64_t>(identity.layout.size()));
  for (size_t table = 0; table < identity.layout.size(); ++table) {
    const auto before = std::ranges::find(holding->former, identity.layout[table].name, &TablePlan::name);
    arguments.add(size_field(identity.layout, table));
    arguments.add(before == holding->former.end()
                      ? ""
                      : size_field(holding->former, static_cast<size_t>(before - holding->former.begin())));
  }
  arguments.add(holding->objects_go ? 1 : 0);
  holding->add_with_objects(arguments);
  connection_.append(arguments.views());
  const Result<long long> code = receive_code(identity.job_name);
  if (!code) return std::unexpected(code.error());
  again = *code == Code::kGap || *code == Code::kObjectsLeft;
  if (*code == Code::kObjectsLeft) return clear_objects(identity, *holding);
  if (*code == Code::kUnowned) return std::unexpected(describe_other_job(identity.job_name, ""));
  if (*code == Code::kFencedOut) {
    return fail(ErrorCode::kFenced,
                place_ + ": {" + identity.job_name + "}:* belongs to a younger incarnation of the job");
  }
  return {};
}

Status RedisWriter::purge(const SinkIdentity& identity) {
  ranks_.erase(identity.job);
  return repeated(identity, [&](bool& again) { return purge_once(identity, again); });
}

Status RedisWriter::purge_once(const SinkIdentity& identity, bool& again) {
  const Result<Holding> holding = find_holding(identity);
  if (!holding) return std::unexpected(holding.error());
  RedisArguments arguments(connection_.script(kPurgeScript));
  arguments.keys(holding->keys).add(to_string(identity.job));
  holding->add_with_objects(arguments);
  connection_.append(arguments.views());
  const Result<long long> code = receive_code(identity.job_name);
  if (!code) return std::unexpected(code.error());
  again = *code == Code::kObjectsLeft;
  return again ? clear_objects(identity, *holding) : Status();
}

std::vector<Result<PublishOutcome>> RedisWriter::publish(const SinkIdentity& identity,
                                                         std::span<const Publication> publications) {
  std::vector<Result<PublishOutcome>> outcomes(publications.size(), PublishOutcome::kDone);
  const auto made = with_connection<bool>([&]() -> Result<bool> {
    if (auto status = publish_all(identity, publications, outcomes); !status) return std::unexpected(status.error());
    return true;
  });
  if (!made) std::ranges::fill(outcomes, std::unexpected(made.error()));
  return outcomes;
}

// What the sink holds of the partition and the state does not: removals for it.
Result<std::vector<SinkEntry>> RedisWriter::find_leftovers(const Attempt& attempt) {
  std::vector<std::unordered_set<std::string_view>> held(attempt.identity.layout.size());  // by table
  for (const SinkEntry& entry : attempt.publication.entries) {
    if (!entry.removed && !entry.is_member()) held[entry.table].insert(entry.key);
  }
  std::vector<SinkEntry> leftovers;
  std::unordered_set<std::string> seen;
  for (size_t table = 0; table < held.size(); ++table) {
    seen.clear();
    const auto note = [&](std::string key) {
      if (options_.partition_of(key) != attempt.publication.partition || held[table].contains(key)) return;
      if (!seen.insert(key).second) return;
      leftovers.push_back({.key = std::move(key), .removed = true, .table = static_cast<uint16_t>(table)});
    };
    const Status walked = walk_fields(redis_key(attempt.identity, attempt.identity.layout[table].name),
                                      [&](std::vector<std::string> keys) {
                                        for (std::string& key : keys) note(std::move(key));
                                        return Status();
                                      });
    if (!walked) return std::unexpected(walked.error());
  }
  return leftovers;
}

// Calls function(fields) for some fields of a hash after the other, some of them more than once.
template <typename Function>
Status RedisWriter::walk_fields(const std::string& hash, Function function) {
  std::string cursor = "0";
  do {
    Result<RedisReply> reply =
        connection_.call(std::array<std::string_view, 5>{"HSCAN", hash, cursor, "COUNT", "1000"});
    if (!reply) return std::unexpected(reply.error());
    if ((*reply)->type != REDIS_REPLY_ARRAY || (*reply)->elements != 2) {
      return fail(ErrorCode::kInternal, place_ + " gave an unexpected answer to HSCAN");
    }
    cursor = text_of(*(*reply)->element[0]);
    const redisReply& pairs = *(*reply)->element[1];
    std::vector<std::string> fields;
    for (size_t index = 0; index + 1 < pairs.elements; index += 2) fields.push_back(text_of(*pairs.element[index]));
    if (Status status = function(std::move(fields)); !status) return status;
  } while (cursor != "0");
  return {};
}

Result<PublishOutcome> RedisWriter::end_round(const SinkIdentity& identity, const RoundEnd& end) {
  return with_connection<PublishOutcome>([&]() -> Result<PublishOutcome> {
    bool rank_unknown = false;
    Result<PublishOutcome> outcome = end_round_once(identity, end, !ranks_.contains(identity.job), rank_unknown);
    if (rank_unknown) outcome = end_round_once(identity, end, /*whole_ranks=*/true, rank_unknown);
    return outcome;
  });
}

Result<PublishOutcome> RedisWriter::end_round_once(const SinkIdentity& identity, const RoundEnd& end, bool whole_ranks,
                                                   bool& rank_unknown) {
  WrittenRanks none;
  WrittenRanks& written = whole_ranks ? none : ranks_[identity.job];
  WrittenRanks next;
  for (const int64_t part :
       {int64_t{identity.incarnation.value()}, end.epoch.value(), end.generation.value(), end.batch.value()}) {
    next.round += (next.round.empty() ? "" : " ") + std::to_string(part);
  }
  std::vector<std::string> keys = {redis_key(identity, "fence"), redis_key(identity, "status")};
  for (const TablePlan& table : identity.layout) keys.push_back(redis_key(identity, table.name));
  std::vector<std::string> counts;   // of each rank: what it holds, what changes in it, and goes
  std::vector<std::string> changes;  // of all ranks
  for (const auto& [table, rank] : end.ranks) {
    const TablePlan& plan = identity.layout[table];
    if (!plan.rank_of_rounds()) continue;
    keys.push_back(redis_key(identity, plan.rank));
    add_rank(rank, written.scores[plan.rank], next.scores[plan.rank], counts, changes);
  }

  RedisArguments arguments(connection_.script(kEndRoundScript));
  arguments.keys(keys).add(to_string(identity.job)).add(identity.incarnation.value()).add(end.epoch.value());
  arguments.add(end.generation.value()).add(end.batch.value()).add(written.round);
  arguments.add(static_cast<int64_t>(2 * end.status.size())).add(end.state_partitions);
  arguments.add(static_cast<int64_t>(identity.layout.size()));
  for (size_t table = 0; table < identity.layout.size(); ++table) arguments.add(size_field(identity.layout, table));
  arguments.add(static_cast<int64_t>(next.scores.size()));
  for (std::string& text : counts) arguments.add(std::move(text));
  for (const auto& [field, text] : end.status) arguments.add(field).add(text);
  for (std::string& text : changes) arguments.add(std::move(text));
  connection_.append(arguments.views());

  const Result<long long> code = receive_code(identity.job_name);
  if (!code) ranks_.erase(identity.job);
  if (!code) return std::unexpected(code.error());
  rank_unknown = *code == Code::kRankUnknown;
  if (*code == Code::kFencedOut) return PublishOutcome::kFenced;
  if (*code == Code::kLost) return PublishOutcome::kDataLost;
  if (*code == Code::kApplied && !next.scores.empty()) ranks_[identity.job] = std::move(next);
  return PublishOutcome::kDone;
}

// What changes in a rank from `written` on: scores that are others, and keys that go. `next`: what it is then.
void RedisWriter::add_rank(const std::vector<SinkEntry>& rank, const Scores& written, Scores& next,
                           std::vector<std::string>& counts, std::vector<std::string>& changes) {
  const size_t before = changes.size();
  for (const SinkEntry& entry : rank) {
    next[entry.key] = entry.score;
    const auto old = written.find(entry.key);
    if (old != written.end() && old->second == entry.score) continue;
    changes.push_back(format_score(entry.score));
    changes.push_back(entry.key);
  }
  const size_t scores = changes.size() - before;
  for (const auto& [key, score] : written) {
    if (!next.contains(key)) changes.push_back(key);
  }
  for (const size_t count : {written.size(), scores, changes.size() - before - scores}) {
    counts.push_back(std::to_string(count));
  }
}

}  // namespace millrace
