// RedisWriter: publications, as script calls under way.

#include <hiredis/hiredis.h>

#include <algorithm>
#include <deque>
#include <set>
#include <utility>

#include "adapters/redis_arguments.h"
#include "adapters/redis_chunk.h"
#include "adapters/redis_scripts.h"
#include "adapters/redis_writer.h"

namespace millrace {
namespace {

using redis_scripts::Code;

constexpr size_t kPartsAtOnce = 256;  // their fields pass through Lua's stack

// Whatever else is tried on this connection now meets it, too.
bool concerns_all(const Error& error) {
  return error.code == ErrorCode::kUnavailable || error.code == ErrorCode::kNotFound ||
         error.code == ErrorCode::kExists;
}

}  // namespace

// The code of each part of a call; another job's keys are kExists.
Result<std::vector<long long>> RedisWriter::receive_codes(const std::string& job_name, size_t parts) {
  Result<RedisReply> reply = connection_.receive();
  if (!reply) return std::unexpected(reply.error());
  if ((*reply)->type == REDIS_REPLY_STRING)
    return std::unexpected(describe_other_job(job_name, std::string((*reply)->str, (*reply)->len)));
  if ((*reply)->type == REDIS_REPLY_INTEGER) return std::vector<long long>(parts, (*reply)->integer);
  std::vector<long long> codes;
  if ((*reply)->type == REDIS_REPLY_ARRAY) {
    for (size_t part = 0; part < (*reply)->elements; ++part) codes.push_back((*reply)->element[part]->integer);
  }
  if (codes.size() == parts) return codes;
  return fail(ErrorCode::kInternal, place_ + " gave an unexpected answer to a script");
}

Result<PublishOutcome> RedisWriter::outcome_of(long long code) const {
  switch (code) {
    case Code::kApplied:
    case Code::kAppliedOver:
    case Code::kAlreadyDone: return PublishOutcome::kDone;
    case Code::kFencedOut: return PublishOutcome::kFenced;
    case Code::kLost: return PublishOutcome::kDataLost;
    default: return fail(ErrorCode::kUnavailable, place_ + " lost a part of a publication; it is repeated");
  }
}

// An error is one of all: what was written by then is found to be so when it comes again.
Status RedisWriter::publish_all(const SinkIdentity& identity, std::span<const Publication> publications,
                                std::span<Result<PublishOutcome>> outcomes) {
  while (!publications.empty()) {
    const auto other = std::ranges::find(publications, true, &Publication::full);
    const auto together = static_cast<size_t>(other - publications.begin());
    const Status status = together > 0 ? publish_together(identity, publications.first(together), outcomes)
                                       : publish_alone(identity, publications.front(), outcomes.front());
    if (!status) return status;
    publications = publications.subspan(std::max<size_t>(1, together));
    outcomes = outcomes.subspan(std::max<size_t>(1, together));
  }
  return {};
}

// An error that is its own is its outcome.
Status RedisWriter::publish_alone(const SinkIdentity& identity, const Publication& publication,
                                  Result<PublishOutcome>& outcome) {
  outcome = publish_once(identity, publication);
  if (!outcome && concerns_all(outcome.error())) return std::unexpected(outcome.error());
  return {};
}

// Many in one call, and some calls under way, whosever they are: who waited for all answers about one partition before
// it sent the next would wait for Redis as often as there are partitions. Where Redis refuses a call, each of it goes
// alone, to learn which one it was. All answers are taken before it returns.
Status RedisWriter::publish_together(const SinkIdentity& identity, std::span<const Publication> publications,
                                     std::span<Result<PublishOutcome>> outcomes) {
  std::ranges::fill(outcomes, PublishOutcome::kDone);
  Cut cut;
  std::deque<Call> under_way;
  std::set<size_t> refused;
  Status status;
  while (!under_way.empty() || (status && cut.publication < publications.size())) {
    while (status && cut.publication < publications.size() && under_way.size() < options_.chunks_under_way) {
      under_way.push_back(append_call(identity, publications, cut));
    }
    const Call call = under_way.front();
    under_way.pop_front();
    const Result<std::vector<long long>> codes = receive_codes(identity.job_name, call.parts);
    if (!codes && !connection_.connected()) return std::unexpected(codes.error());
    if (!codes && concerns_all(codes.error())) {
      if (status) status = std::unexpected(codes.error());
      continue;
    }
    for (size_t part = 0; part < call.parts; ++part) {
      Result<PublishOutcome>& outcome = outcomes[call.first + part];
      if (!codes) refused.insert(call.first + part);
      if (codes && outcome == PublishOutcome::kDone) outcome = outcome_of((*codes)[part]);  // the first that is not
    }
  }
  for (const size_t index : refused) {
    if (!status) break;
    status = publish_alone(identity, publications[index], outcomes[index]);
  }
  return status;
}

// As much as goes into a call, of different partitions, since each sees the fence of before.
RedisWriter::Call RedisWriter::append_call(const SinkIdentity& identity, std::span<const Publication> publications,
                                           Cut& cut) {
  const size_t first = cut.publication;
  std::vector<Part> parts;
  std::set<StatePartition> partitions;
  size_t room = options_.chunk_entries;
  while (cut.publication < publications.size() && parts.size() < kPartsAtOnce) {
    const Publication& publication = publications[cut.publication];
    const size_t left = publication.entries.size() - cut.entry;
    if ((room == 0 && left > 0) || !partitions.insert(publication.partition).second) break;
    const size_t taken = std::min(left, room);
    if (cut.chunk == 0) ++attempts_;
    parts.push_back({publication, std::span(publication.entries).subspan(cut.entry, taken), attempts_, cut.chunk,
                     /*last=*/taken == left});
    room -= taken;
    if (taken < left) {
      cut = {cut.publication, cut.entry + taken, cut.chunk + 1};
      break;
    }
    cut = {cut.publication + 1};
  }
  append_parts(identity, parts);
  return {first, parts.size()};
}

Result<PublishOutcome> RedisWriter::publish_once(const SinkIdentity& identity, const Publication& publication) {
  Attempt attempt{identity, publication, ++attempts_, &publication.entries};
  if (!publication.full) return send_entries(attempt);

  append_chunk(attempt, 0, 0, /*last=*/false);
  const Result<std::vector<long long>> answer = receive_codes(identity.job_name, 1);
  if (!answer) return std::unexpected(answer.error());
  const long long opened = answer->front();
  if (opened != Code::kApplied && opened != Code::kAppliedOver) return outcome_of(opened);
  if (opened == Code::kApplied) return send_entries(attempt);

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
    const Result<std::vector<long long>> codes = receive_codes(attempt.identity.job_name, 1);
    if (!codes && !connection_.connected()) return std::unexpected(codes.error());
    if (!going_on) continue;
    if (codes && (codes->front() == Code::kApplied || codes->front() == Code::kAppliedOver)) continue;
    going_on = false;  // the first answer that is no success decides
    outcome = codes ? outcome_of(codes->front()) : std::unexpected(codes.error());
  }
  return outcome;
}

void RedisWriter::append_chunk(Attempt& attempt, size_t begin, size_t end, bool last) {
  const Part part{attempt.publication, std::span(*attempt.entries).subspan(begin, end - begin), attempt.number,
                  attempt.chunks++, last};
  append_parts(attempt.identity, std::span(&part, 1));
}

void RedisWriter::append_parts(const SinkIdentity& identity, std::span<const Part> parts) {
  std::vector<std::string> keys = RedisChunk::shared_keys(identity);
  std::vector<RedisChunk> chunks;
  std::vector<size_t> objects;  // of each part
  for (const Part& part : parts) {
    chunks.emplace_back(identity, part.entries, part.publication.full);
    const size_t before = keys.size();
    chunks.back().add_objects(keys);
    objects.push_back(keys.size() - before);
  }
  RedisArguments arguments(connection_.script(kPublishScript));
  arguments.keys(keys).add(to_string(identity.job)).add(identity.incarnation.value());
  arguments.add(static_cast<int64_t>(identity.layout.size())).add(std::ssize(parts));
  for (size_t table = 0; table < identity.layout.size(); ++table) arguments.add(size_field(identity.layout, table));
  for (const Part& part : parts) arguments.add("p" + std::to_string(part.publication.partition.value()));
  for (const TablePlan& table : identity.layout) {
    arguments.add(has_rank_of_all(table) ? 1 : 0).add(static_cast<int64_t>(table.form));
  }
  for (size_t index = 0; index < parts.size(); ++index) {
    const Part& part = parts[index];
    arguments.add(part.publication.generation.value()).add(part.publication.since.value());
    arguments.add(part.publication.batch.value()).add(part.publication.full ? 1 : 0);
    arguments.add(static_cast<int64_t>(part.attempt)).add(part.chunk).add(part.last ? 1 : 0);
    arguments.add(static_cast<int64_t>(objects[index]));
    chunks[index].add_to(arguments);
  }
  connection_.append(arguments.views());
}

}  // namespace millrace
