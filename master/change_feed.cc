#include "master/change_feed.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "common/wire/codec.h"

namespace millrace {
namespace {

constexpr size_t kMostParts = 100;  // of a partition, since the last complete round

}  // namespace

ChangeFeed::ChangeFeed(TaskLoop& loop, const Clock& clock, size_t partitions, Limits limits)
    : loop_(loop), clock_(clock), partitions_(partitions), limits_(limits) {}

bool ChangeFeed::wanted() const {
  return asked_ && clock_.now() - *asked_ < limits_.wanted_for;
}

void ChangeFeed::follow(std::optional<BatchId> position, BatchId published, bool open, Duration wait, Done done) {
  asked_ = clock_.now();
  // All rounds from now on bring changes, unless one is open already.
  if (!newest_ && !open) newest_ = published;
  if (std::optional<Answer> now = tell(position)) return done(std::move(*now));
  if (readers_.size() >= limits_.readers) {
    return done(
        fail(ErrorCode::kUnavailable,
             std::to_string(readers_.size()) + " readers follow this job already; follow one of its gateways instead"));
  }
  const uint64_t id = ++last_reader_;
  const TaskLoop::TimerId timer = loop_.schedule(wait, lifetime_.guard([this, id] {
    const std::optional<BatchId> as_it_was = readers_.at(id).position;
    end(id, Answer{.reset = !as_it_was, .position = as_it_was.value_or(BatchId(0)), .rounds = {}});
  }));
  readers_.emplace(id, Reader{position, timer, std::move(done)});
}

void ChangeFeed::end(uint64_t id, Result<Answer> result) {
  auto reader = readers_.extract(id);
  loop_.cancel(reader.mapped().timer);
  reader.mapped().done(std::move(result));
}

std::optional<ChangeFeed::Answer> ChangeFeed::tell(std::optional<BatchId> position) const {
  if (!newest_) return std::nullopt;
  if (!position) return Answer{.reset = true, .position = *newest_, .rounds = {}};
  if (*position >= *newest_) return std::nullopt;
  Answer told{.reset = false, .position = *position, .rounds = {}};
  size_t bytes = 0;
  for (auto round = std::ranges::upper_bound(rounds_, *position, {}, &Round::batch); round != rounds_.end(); ++round) {
    if (round->since > told.position) break;
    if (bytes > 0 && bytes + round->bytes > limits_.answer_bytes) break;
    bytes += round->bytes;
    told.position = round->batch;
    told.rounds.push_back(*round);
  }
  if (told.rounds.empty()) return Answer{.reset = true, .position = *newest_, .rounds = {}};
  return told;
}

void ChangeFeed::add(BatchId round, wire::ChangedPartition part) {
  std::deque<Part>& parts = parts_[part.partition];
  const BatchId since(part.since);
  // The keys of those are among these, with newer values.
  while (!parts.empty() && parts.back().since >= since) {
    parts_bytes_ -= parts.back().keys.size();
    parts.pop_back();
  }
  parts_bytes_ += part.keys.size();
  parts.push_back({since, round, std::move(part.keys)});
  // Rounds that never end are no reason to keep more.
  if (parts_bytes_ > kMaxChangesOfRound || parts.size() > kMostParts) forget_parts();
}

// Whoever has seen all up to here, or up to later, lacks no change in what has come since newest_.
BatchId ChangeFeed::covered_since(BatchId round) const {
  if (parts_.size() < partitions_) return round;
  BatchId all(0);
  for (const auto& [partition, parts] : parts_) {
    if (parts.empty() || parts.back().to != round) return round;
    BatchId since = parts.back().since;
    for (auto part = std::next(parts.rbegin()); part != parts.rend() && part->to >= since; ++part) {
      since = std::min(since, part->since);
    }
    all = std::max(all, since);
  }
  return all;
}

void ChangeFeed::round_complete(BatchId round) {
  const BatchId since = covered_since(round);
  if (since < round && wanted()) {
    Round& added = rounds_.emplace_back(Round{since, round, clock_.now(), {}, sizeof(Round) + parts_bytes_});
    for (auto& [partition, parts] : parts_) {
      for (Part& part : parts) {
        if (!part.keys.empty()) added.parts.push_back(std::move(part.keys));
      }
    }
    bytes_ += added.bytes;
    drop_old_rounds();
  } else {
    forget_rounds();
  }
  newest_ = wanted() ? std::optional(round) : std::nullopt;
  forget_parts();
  for (auto reader = readers_.begin(); reader != readers_.end();) {
    const auto [id, position] = std::pair(reader->first, reader->second.position);
    ++reader;
    if (std::optional<Answer> told = tell(position)) end(id, std::move(*told));
  }
}

void ChangeFeed::drop_old_rounds() {
  while (!rounds_.empty() && (bytes_ > limits_.bytes || clock_.now() - rounds_.front().ended > limits_.wanted_for)) {
    bytes_ -= rounds_.front().bytes;
    rounds_.pop_front();
  }
}

void ChangeFeed::forget_parts() {
  parts_.clear();
  parts_bytes_ = 0;
}

void ChangeFeed::forget_rounds() {
  rounds_.clear();
  bytes_ = 0;
}

void ChangeFeed::fail_all(const Error& error) {
  while (!readers_.empty()) end(readers_.begin()->first, std::unexpected(error));
  loop_.schedule(limits_.wanted_for, lifetime_.guard([this] {
    if (!wanted()) forget_rounds();
  }));
}

}  // namespace millrace
