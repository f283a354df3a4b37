#include "adapters/redis_writer.h"

#include <hiredis/hiredis.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <unordered_set>
#include <utility>

#include "adapters/redis_scripts.h"
#include "common/base/check.h"

namespace millrace {
namespace {

using redis_scripts::Code;

enum Script : size_t { kPublishScript, kEndRoundScript, kClaimScript, kPurgeScript };

std::string key_of(const SinkIdentity& identity, const std::string& suffix) {
  return "{" + identity.job_name + "}:" + suffix;
}

bool has_rank_of_all(const SinkIdentity& identity) {
  return identity.layout.front().rank_all && !identity.layout.front().rank.empty();
}

std::string format_score(double score) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.17g", score);
  return text;
}

std::string text_of(const redisReply& reply) {
  return reply.str == nullptr ? std::string() : std::string(reply.str, static_cast<size_t>(reply.len));
}

// The arguments of one EVALSHA: owned strings first, as they are made, then views of what the caller keeps.
class Arguments {
 public:
  explicit Arguments(const std::string& script) { add("EVALSHA").add(script); }

  Arguments& add(std::string text) {
    owned_.push_back(std::move(text));
    return *this;
  }
  Arguments& add(int64_t number) { return add(std::to_string(number)); }
  Arguments& keys(const std::vector<std::string>& keys) {
    add(static_cast<int64_t>(keys.size()));
    for (const std::string& key : keys) add(key);
    return *this;
  }
  [[nodiscard]] std::vector<std::string_view> views() const { return {owned_.begin(), owned_.end()}; }

 private:
  std::vector<std::string> owned_;
};

}  // namespace

// One try of a publication.
struct RedisWriter::Attempt {
  const SinkIdentity& identity;
  const Publication& publication;
  uint64_t number;
  const std::vector<SinkEntry>* entries;  // what the chunks are cut from
  int64_t chunks = 0;                     // sent so far
};

RedisWriter::RedisWriter(RedisAddress address, RedisSinkOptions options)
    : place_("Redis at " + address.place()),
      options_(std::move(options)),
      connection_(std::move(address), options_.timeouts,
                  {redis_scripts::kPublish, redis_scripts::kEndRound, redis_scripts::kClaim, redis_scripts::kPurge}) {
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

// All keys that the name may hold, by this job's layout and by the one stored with it: the fence, the status, the
// values and the rank of this job first.
Result<std::vector<std::string>> RedisWriter::keys_of_name(const SinkIdentity& identity, std::string& stored_job) {
  const std::string fence = key_of(identity, "fence");
  Result<RedisReply> reply = connection_.call(std::array<std::string_view, 5>{"HMGET", fence, "job", "values", "rank"});
  if (!reply) return std::unexpected(reply.error());
  if ((*reply)->type != REDIS_REPLY_ARRAY || (*reply)->elements != 3) {
    return fail(ErrorCode::kInternal, place_ + " gave an unexpected answer to HMGET");
  }
  stored_job = text_of(*(*reply)->element[0]);
  std::vector<std::string> keys = {fence, key_of(identity, "status"), key_of(identity, identity.layout.front().name)};
  for (const std::string& suffix :
       {identity.layout.front().rank, text_of(*(*reply)->element[1]), text_of(*(*reply)->element[2])}) {
    const std::string key = key_of(identity, suffix);
    if (!suffix.empty() && std::find(keys.begin(), keys.end(), key) == keys.end()) keys.push_back(key);
  }
  return keys;
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

Status RedisWriter::claim(const SinkIdentity& identity, bool take_over) {
  for (int attempt = 0; attempt < 3; ++attempt) {
    bool again = false;
    const Result<bool> claimed = with_connection<bool>([&]() -> Result<bool> {
      if (auto status = claim_once(identity, take_over, again); !status) return std::unexpected(status.error());
      return true;
    });
    if (!claimed) return std::unexpected(claimed.error());
    if (!again) return {};
  }
  return fail(ErrorCode::kUnavailable,
              place_ + ": somebody else claims {" + identity.job_name + "}:* at the same time; try again");
}

Status RedisWriter::claim_once(const SinkIdentity& identity, bool take_over, bool& again) {
  std::string stored_job;
  const Result<std::vector<std::string>> keys = keys_of_name(identity, stored_job);
  if (!keys) return std::unexpected(keys.error());
  Arguments arguments(connection_.script(kClaimScript));
  arguments.keys(*keys).add(to_string(identity.job)).add(identity.incarnation.value()).add(take_over ? 1 : 0);
  arguments.add(stored_job).add(identity.layout.front().name).add(identity.layout.front().rank);
  arguments.add(has_rank_of_all(identity) ? 1 : 0);
  connection_.append(arguments.views());
  const Result<long long> code = receive_code(identity.job_name);
  if (!code) return std::unexpected(code.error());
  again = *code == Code::kGap;
  if (*code == Code::kUnowned) return std::unexpected(describe_other_job(identity.job_name, ""));
  if (*code == Code::kFencedOut) {
    return fail(ErrorCode::kFenced,
                place_ + ": {" + identity.job_name + "}:* belongs to a younger incarnation of the job");
  }
  return {};
}

Status RedisWriter::purge(const SinkIdentity& identity) {
  const Result<long long> purged = with_connection<long long>([&]() -> Result<long long> {
    std::string stored_job;
    const Result<std::vector<std::string>> keys = keys_of_name(identity, stored_job);
    if (!keys) return std::unexpected(keys.error());
    Arguments arguments(connection_.script(kPurgeScript));
    arguments.keys(*keys).add(to_string(identity.job));
    connection_.append(arguments.views());
    return receive_code(identity.job_name);
  });
  ranks_.erase(identity.job);
  if (!purged) return std::unexpected(purged.error());
  return {};
}

Result<PublishOutcome> RedisWriter::publish(const SinkIdentity& identity, const Publication& publication) {
  return with_connection<PublishOutcome>([&] { return publish_once(identity, publication); });
}

Result<PublishOutcome> RedisWriter::publish_once(const SinkIdentity& identity, const Publication& publication) {
  Attempt attempt{identity, publication, ++attempts_, &publication.entries};
  if (!publication.full) return send_entries(attempt);

  append_chunk(attempt, 0, 0, /*last=*/false);
  const Result<long long> opened = receive_code(identity.job_name);
  if (!opened) return std::unexpected(opened.error());
  if (*opened == Code::kAlreadyDone) return PublishOutcome::kDone;
  if (*opened == Code::kFencedOut) return PublishOutcome::kFenced;
  if (*opened == Code::kLost) return PublishOutcome::kDataLost;
  if (*opened != Code::kAppliedOver) return send_entries(attempt);

  Result<std::vector<SinkEntry>> entries = find_leftovers(attempt);
  if (!entries) return std::unexpected(entries.error());
  entries->insert(entries->end(), publication.entries.begin(), publication.entries.end());
  attempt.entries = &*entries;
  return send_entries(attempt);
}

// Cuts the entries into chunks and keeps some of them under way. All answers are taken before it returns.
Result<PublishOutcome> RedisWriter::send_entries(Attempt& attempt) {
  const size_t total = attempt.entries->size();
  const size_t chunks = std::max<size_t>(1, (total + options_.chunk_entries - 1) / options_.chunk_entries);
  Result<PublishOutcome> outcome = PublishOutcome::kDone;
  bool going_on = true;
  size_t sent = 0;
  for (size_t answered = 0; answered < sent || (going_on && sent < chunks); ++answered) {
    while (going_on && sent < chunks && sent - answered < options_.chunks_under_way) {
      const size_t begin = sent * options_.chunk_entries;
      ++sent;
      append_chunk(attempt, begin, std::min(total, begin + options_.chunk_entries), sent == chunks);
    }
    const Result<long long> code = receive_code(attempt.identity.job_name);
    if (!code && !connection_.connected()) return std::unexpected(code.error());
    if (!going_on || (code && (*code == Code::kApplied || *code == Code::kAppliedOver))) continue;
    going_on = false;  // the first answer that is no success decides
    if (!code) {
      outcome = std::unexpected(code.error());
    } else if (*code == Code::kFencedOut) {
      outcome = PublishOutcome::kFenced;
    } else if (*code == Code::kLost) {
      outcome = PublishOutcome::kDataLost;
    } else if (*code == Code::kGap) {
      outcome = fail(ErrorCode::kUnavailable, place_ + " lost a part of a publication; it is repeated");
    }
  }
  return outcome;
}

void RedisWriter::append_chunk(Attempt& attempt, size_t begin, size_t end, bool last) {
  const SinkIdentity& identity = attempt.identity;
  const Publication& publication = attempt.publication;
  const bool rank_all = has_rank_of_all(identity);
  const auto first = attempt.entries->begin() + static_cast<std::ptrdiff_t>(begin);
  const auto after = attempt.entries->begin() + static_cast<std::ptrdiff_t>(end);
  const auto present = std::count_if(first, after, [](const SinkEntry& entry) { return !entry.removed; });

  std::vector<std::string> keys = {key_of(identity, "fence"), key_of(identity, identity.layout.front().name)};
  if (rank_all) keys.push_back(key_of(identity, identity.layout.front().rank));
  Arguments header(connection_.script(kPublishScript));
  header.keys(keys).add(to_string(identity.job)).add(identity.incarnation.value());
  header.add("p" + std::to_string(publication.partition.value())).add(publication.generation.value());
  header.add(publication.since.value()).add(publication.batch.value()).add(publication.full ? 1 : 0);
  header.add(static_cast<int64_t>(attempt.number)).add(attempt.chunks++).add(last ? 1 : 0);
  header.add(2 * present).add(rank_all ? 2 * present : 0);

  std::vector<std::string_view> arguments = header.views();
  std::vector<std::string> scores;
  scores.reserve(static_cast<size_t>(present));
  for (auto entry = first; entry != after; ++entry) {
    if (entry->removed) continue;
    arguments.push_back(entry->key);
    arguments.push_back(entry->text);
  }
  for (auto entry = first; rank_all && entry != after; ++entry) {
    if (entry->removed) continue;
    scores.push_back(format_score(entry->score));
    arguments.push_back(scores.back());
    arguments.push_back(entry->key);
  }
  for (auto entry = first; entry != after; ++entry) {
    if (entry->removed) arguments.push_back(entry->key);
  }
  connection_.append(arguments);
}

// What the sink holds of the partition and the state does not: removals for it.
Result<std::vector<SinkEntry>> RedisWriter::find_leftovers(const Attempt& attempt) {
  std::unordered_set<std::string_view> held;
  for (const SinkEntry& entry : attempt.publication.entries) {
    if (!entry.removed) held.insert(entry.key);
  }
  std::vector<SinkEntry> leftovers;
  std::unordered_set<std::string> seen;
  const std::string values = key_of(attempt.identity, attempt.identity.layout.front().name);
  std::string cursor = "0";
  do {
    Result<RedisReply> reply =
        connection_.call(std::array<std::string_view, 5>{"HSCAN", values, cursor, "COUNT", "1000"});
    if (!reply) return std::unexpected(reply.error());
    if ((*reply)->type != REDIS_REPLY_ARRAY || (*reply)->elements != 2) {
      return fail(ErrorCode::kInternal, place_ + " gave an unexpected answer to HSCAN");
    }
    cursor = text_of(*(*reply)->element[0]);
    const redisReply& pairs = *(*reply)->element[1];
    for (size_t index = 0; index + 1 < pairs.elements; index += 2) {
      std::string key = text_of(*pairs.element[index]);
      if (options_.partition_of(key) != attempt.publication.partition || held.contains(key)) continue;
      if (seen.insert(key).second) leftovers.push_back({.key = std::move(key), .removed = true});
    }
  } while (cursor != "0");
  return leftovers;
}

Result<PublishOutcome> RedisWriter::end_round(const SinkIdentity& identity, const RoundEnd& end) {
  return with_connection<PublishOutcome>([&]() -> Result<PublishOutcome> {
    bool rank_unknown = false;
    Result<PublishOutcome> outcome = end_round_once(identity, end, !ranks_.contains(identity.job), rank_unknown);
    if (rank_unknown) outcome = end_round_once(identity, end, /*whole_rank=*/true, rank_unknown);
    return outcome;
  });
}

Result<PublishOutcome> RedisWriter::end_round_once(const SinkIdentity& identity, const RoundEnd& end, bool whole_rank,
                                                   bool& rank_unknown) {
  const auto rank = end.ranks.find(0);
  const bool has_rank = rank != end.ranks.end() && identity.layout.front().rank_of_rounds();
  const WrittenRank& written = ranks_[identity.job];
  WrittenRank next;
  for (const int64_t part :
       {int64_t{identity.incarnation.value()}, end.epoch.value(), end.generation.value(), end.batch.value()}) {
    next.round += (next.round.empty() ? "" : " ") + std::to_string(part);
  }
  std::vector<std::string> scores;
  std::vector<std::string> gone;
  for (size_t index = 0; has_rank && index < rank->second.size(); ++index) {
    const SinkEntry& entry = rank->second[index];
    next.scores[entry.key] = entry.score;
    const auto old = written.scores.find(entry.key);
    if (!whole_rank && old != written.scores.end() && old->second == entry.score) continue;
    scores.push_back(format_score(entry.score));
    scores.push_back(entry.key);
  }
  for (const auto& [key, score] : written.scores) {
    if (has_rank && !whole_rank && !next.scores.contains(key)) gone.push_back(key);
  }

  std::vector<std::string> keys = {key_of(identity, "fence"), key_of(identity, "status"),
                                   key_of(identity, identity.layout.front().name)};
  if (has_rank) keys.push_back(key_of(identity, identity.layout.front().rank));
  Arguments arguments(connection_.script(kEndRoundScript));
  arguments.keys(keys).add(to_string(identity.job)).add(identity.incarnation.value()).add(end.epoch.value());
  arguments.add(end.generation.value()).add(end.batch.value());
  arguments.add(!has_rank ? "keep" : whole_rank ? "replace" : "change");
  arguments.add(written.round).add(static_cast<int64_t>(written.scores.size()));
  arguments.add(static_cast<int64_t>(2 * end.status.size())).add(static_cast<int64_t>(scores.size()));
  arguments.add(end.state_partitions);
  for (const auto& [field, text] : end.status) arguments.add(field).add(text);
  for (std::string& text : scores) arguments.add(std::move(text));
  for (std::string& key : gone) arguments.add(std::move(key));
  connection_.append(arguments.views());

  const Result<long long> code = receive_code(identity.job_name);
  if (!code) ranks_.erase(identity.job);
  if (!code) return std::unexpected(code.error());
  rank_unknown = *code == Code::kRankUnknown;
  if (*code == Code::kFencedOut) return PublishOutcome::kFenced;
  if (*code == Code::kLost) return PublishOutcome::kDataLost;
  if (*code == Code::kApplied && has_rank) ranks_[identity.job] = std::move(next);
  return PublishOutcome::kDone;
}

}  // namespace millrace
