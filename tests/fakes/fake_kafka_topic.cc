#include "tests/fakes/fake_kafka_topic.h"

#include "common/base/check.h"
#include "tests/unit/packed_batch.h"

namespace millrace {
namespace {

// Of Kafka's protocol.
constexpr int16_t kOffsetOutOfRange = 1;
constexpr int16_t kUnknownTopicOrPartition = 3;
constexpr int16_t kNotLeader = 6;
constexpr int16_t kFencedLeaderEpoch = 74;
constexpr int16_t kUnknownLeaderEpoch = 75;
constexpr int16_t kUnknownTopicId = 100;

}  // namespace

void FakeKafkaTopic::Partition::begin_epoch() {
  const int32_t next = epoch() + 1;
  std::erase_if(epochs, [&](const auto& each) { return each.second >= end; });
  epochs.emplace_back(next, end);
}

Offset FakeKafkaTopic::Partition::last_stable() const {
  Offset last = end;
  for (const auto& [producer, first] : open) last = std::min(last, first);
  return last;
}

std::optional<DivergingEpoch> FakeKafkaTopic::Partition::end_of_epoch(int32_t asked) const {
  if (asked > epoch()) return std::nullopt;
  if (asked == epoch()) return DivergingEpoch{asked, end};
  const auto above = std::ranges::upper_bound(epochs, asked, {}, &std::pair<int32_t, Offset>::first);
  return DivergingEpoch{above == epochs.begin() ? asked : std::prev(above)->first, above->second};
}

void FakeKafkaTopic::Partition::add(Offset next, std::string bytes) {
  store_big(bytes.data() + 12, epoch());
  const Offset base(load_big<int64_t>(bytes.data()));
  batches.push_back({base, next, std::move(bytes)});
  end = next;
}

void FakeKafkaTopic::Partition::read(const FetchQuestion& question, FetchFrame& frame) const {
  const Offset readable = question.committed ? last_stable() : end;
  const auto most = static_cast<size_t>(question.max_bytes);
  Offset next = question.from;
  for (const Batch& batch : batches) {
    if (batch.next <= question.from) continue;
    if (batch.base >= readable || frame.records.size() >= most) break;
    // The last one may be cut off, but never the first one.
    frame.records += frame.records.empty() ? batch.bytes : batch.bytes.substr(0, most - frame.records.size());
    next = batch.next;
  }
  for (const auto& [transaction, mark] : aborted) {
    if (mark >= question.from && transaction.first < next) frame.aborted.push_back(transaction);
  }
}

FakeKafkaTopic::FakeKafkaTopic(int partitions) : partitions_(static_cast<size_t>(partitions)) {
  id_.bytes.back() = 1;
}

void FakeKafkaTopic::append(LogPartition partition, const std::vector<std::string>& values, const AppendedAs& how) {
  Partition& log = at(partition);
  Offset next(log.end.value() + how.gap);
  RecordBatchBuilder builder;
  if (how.producer >= 0) {
    builder.set_producer({how.producer, 0, 0});
    log.open.emplace(how.producer, next);
  }
  for (const std::string& value : values) {
    builder.add(next, 1, std::nullopt, value);
    next = next.next();
  }
  const int attributes = how.attributes | static_cast<int>(how.codec) | (how.producer >= 0 ? kTransactional : 0);
  std::string bytes = with_attributes(packed_batch(how.codec, builder.finish()), static_cast<int16_t>(attributes));
  log.add(next, std::move(bytes));
  if (how.changed) log.batches.back().bytes.at(*how.changed) ^= 3;
}

void FakeKafkaTopic::end_transaction(LogPartition partition, int64_t producer, bool commit) {
  Partition& log = at(partition);
  const auto open = log.open.extract(producer);
  CHECK(!open.empty());
  if (!commit) log.aborted.push_back({{producer, open.mapped()}, log.end});
  log.add(log.end.next(), mark(log.end.value(), producer, !commit));
}

void FakeKafkaTopic::drop_oldest(LogPartition partition, Offset begin) {
  at(partition).begin = begin;
  std::erase_if(at(partition).batches, [&](const Batch& batch) { return batch.next <= begin; });
}

void FakeKafkaTopic::cut_back(LogPartition partition, Offset end) {
  std::erase_if(at(partition).batches, [&](const Batch& batch) { return batch.next > end; });
  at(partition).end = end;
  at(partition).begin_epoch();
}

void FakeKafkaTopic::lead(LogPartition partition, int broker) {
  at(partition).broker = broker;
  at(partition).begin_epoch();
}

void FakeKafkaTopic::make_anew() {
  ++id_.bytes.back();
  for (Partition& partition : partitions_) partition = {};
}

std::vector<FakeKafkaTopic::Leader> FakeKafkaTopic::leaders() const {
  std::vector<Leader> all;
  for (const Partition& partition : partitions_) all.push_back({partition.broker, partition.epoch()});
  return all;
}

// What is looked at in which order is as in Kafka 3.
FetchFrame FakeKafkaTopic::answer(int broker, const FetchQuestion& question) const {
  FetchFrame frame{.topic = question.topic, .partition = question.partition};
  const auto failed = [&](int16_t error) {
    frame.partition_error = error;
    return frame;
  };
  if (question.topic != id()) return failed(kUnknownTopicId);
  if (static_cast<size_t>(question.partition.value()) >= partitions_.size()) return failed(kUnknownTopicOrPartition);
  const Partition& log = at(question.partition);
  if (log.broker != broker) return failed(kNotLeader);
  if (question.leader_epoch > log.epoch()) return failed(kUnknownLeaderEpoch);
  if (question.leader_epoch >= 0 && question.leader_epoch < log.epoch()) return failed(kFencedLeaderEpoch);
  if (question.last_epoch >= 0) {
    const auto end = log.end_of_epoch(question.last_epoch);
    if (!end || question.from < log.begin) return failed(kOffsetOutOfRange);
    if (end->epoch < question.last_epoch || end->end < question.from) {
      frame.diverging = end;
      return frame;
    }
  }
  if (question.from < log.begin || question.from > log.end) return failed(kOffsetOutOfRange);
  log.read(question, frame);
  return frame;
}

}  // namespace millrace
