#include "tests/fakes/fake_log.h"

#include <algorithm>
#include <utility>

#include "common/base/check.h"
#include "common/model/record_batch.h"
#include "common/model/source_topics.h"

namespace millrace {

// One open reader. At most one delivery is scheduled at a time.
struct FakeTopic::Reader : std::enable_shared_from_this<FakeTopic::Reader> {
  Reader(FakeTopic& its_topic, TaskLoop& its_loop, const FakeLogOptions& its_timing,
         const LogReaderOptions& its_options, LogReaderHandler* its_handler)
      : topic(its_topic),
        loop(its_loop),
        timing(its_timing),
        options(its_options),
        handler(its_handler),
        next(its_options.from) {}

  // What holds a chunk's bytes; gives the credit back.
  struct Owner {
    std::shared_ptr<const void> bytes;
    std::weak_ptr<Reader> reader;
    size_t size;
    Owner(std::shared_ptr<const void> its_bytes, std::weak_ptr<Reader> its_reader, size_t its_size)
        : bytes(std::move(its_bytes)), reader(std::move(its_reader)), size(its_size) {}
    Owner(const Owner&) = delete;
    Owner& operator=(const Owner&) = delete;
    ~Owner() {
      const auto living = reader.lock();
      if (living == nullptr) return;
      living->taken -= size;
      living->pump();
    }
  };

  [[nodiscard]] bool finished() const { return ended || (options.until && next >= *options.until); }

  [[nodiscard]] bool something_to_say() const {
    if (handler == nullptr || finished()) return false;
    if (!topic.available_) return !told_unavailable;
    if (lost || next < topic.begin(options.partition) || next > topic.end(options.partition)) return true;
    const bool credit = taken == 0 || taken < options.read_ahead_bytes;
    return next < topic.end(options.partition) && credit;
  }

  void pump() {
    if (scheduled || !something_to_say()) return;
    scheduled = true;
    loop.schedule(timing.latency, [weak = weak_from_this()] {
      const auto self = weak.lock();
      if (self == nullptr) return;
      self->scheduled = false;
      if (self->something_to_say()) self->say();
      self->pump();
    });
  }

  void say() {
    if (!topic.available_) {
      told_unavailable = true;
      handler->on_log_error(options.partition, {ErrorCode::kUnavailable, "the fake topic is away"});
      return;
    }
    told_unavailable = false;
    if (lost || next < topic.begin(options.partition) || next > topic.end(options.partition)) {
      ended = true;
      handler->on_log_error(options.partition, {ErrorCode::kDataLost, "offset " + std::to_string(next.value()) +
                                                                          " is not in the fake topic any more"});
      return;
    }
    const auto most = static_cast<uint64_t>(timing.most_records_a_chunk);
    Offset to(next.value() + 1 + static_cast<int64_t>(topic.draw(most)));
    to = std::min(to, topic.end(options.partition));
    if (options.until) to = std::min(to, *options.until);
    LogChunk chunk = topic.cut(options.partition, next, to);
    next = to;
    const size_t size = chunk.bytes.size();
    taken += size;
    const std::string_view view = chunk.bytes.view();
    auto held = std::make_shared<const SharedBuffer>(std::move(chunk.bytes));
    chunk.bytes = SharedBuffer(std::make_shared<Owner>(std::move(held), weak_from_this(), size), view);
    handler->on_chunk(std::move(chunk));
  }

  FakeTopic& topic;
  TaskLoop& loop;
  const FakeLogOptions timing;
  const LogReaderOptions options;
  LogReaderHandler* handler;  // null once the reader is deleted
  Offset next;
  size_t taken = 0;
  bool scheduled = false;
  bool told_unavailable = false;
  bool lost = false;
  bool ended = false;
};

FakeTopic::FakeTopic(int32_t partitions, uint64_t seed, std::string topic_id, size_t topics)
    : topic_id_(std::move(topic_id)),
      topics_(topics),
      partitions_(static_cast<size_t>(partitions)),
      random_state_(seed) {}

FakeTopic::~FakeTopic() = default;

FakeTopic::Partition& FakeTopic::at(LogPartition partition) {
  return const_cast<Partition&>(std::as_const(*this).at(partition));  // NOLINT(cppcoreguidelines-pro-type-const-cast)
}
const FakeTopic::Partition& FakeTopic::at(LogPartition partition) const {
  return partitions_.at(static_cast<size_t>(topic_partition(partition)) * topics_ + topic_index(partition));
}

std::vector<LogPartition> FakeTopic::ids() const {
  std::vector<LogPartition> ids;
  for (size_t index = 0; index < partitions_.size(); ++index) {
    ids.push_back(log_partition(index % topics_, static_cast<int32_t>(index / topics_)));
  }
  std::ranges::sort(ids);
  return ids;
}

uint64_t FakeTopic::draw(uint64_t bound) {
  random_state_ += 0x9E3779B97F4A7C15u;
  uint64_t mixed = random_state_;
  mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9u;
  mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EBu;
  return (mixed ^ (mixed >> 31)) % bound;
}

Offset FakeTopic::end(LogPartition partition) const {
  return Offset(static_cast<int64_t>(at(partition).records.size()));
}

const std::optional<FakeTopic::Record>& FakeTopic::record(LogPartition partition, Offset offset) const {
  return at(partition).records.at(static_cast<size_t>(offset.value()));
}

Offset FakeTopic::append(LogPartition partition, Record record) {
  const Offset first = end(partition);
  at(partition).records.emplace_back(std::move(record));
  wake(partition);
  return first;
}

Offset FakeTopic::append(LogPartition partition, const std::vector<std::string>& values) {
  const Offset first = end(partition);
  for (const std::string& value : values) at(partition).records.push_back(Record{0, std::nullopt, value});
  wake(partition);
  return first;
}

void FakeTopic::skip(LogPartition partition, int64_t offsets) {
  for (int64_t index = 0; index < offsets; ++index) at(partition).records.emplace_back(std::nullopt);
  wake(partition);
}

void FakeTopic::retain_from(LogPartition partition, Offset begin) {
  CHECK(begin >= at(partition).begin && begin <= end(partition));
  at(partition).begin = begin;
  wake(partition);
}

void FakeTopic::set_available(bool available) {
  available_ = available;
  for (const auto& weak : readers_) {
    if (const auto reader = weak.lock(); reader != nullptr && available) reader->told_unavailable = false;
  }
  wake(std::nullopt);
}

void FakeTopic::grow(int32_t partitions) {
  partitions_.resize(partitions_.size() + static_cast<size_t>(partitions));
}

void FakeTopic::make_anew(std::string topic_id) {
  topic_id_ = std::move(topic_id);
  for (Partition& partition : partitions_) partition = {};
  for (const auto& weak : readers_) {
    if (const auto reader = weak.lock()) reader->lost = true;
  }
  wake(std::nullopt);
}

LogDescription FakeTopic::describe() const {
  LogDescription description{topic_id_, {}, unfit_};
  for (const LogPartition partition : ids()) {
    description.partitions.push_back({partition, begin(partition), end(partition), 0});
  }
  return description;
}

void FakeTopic::wake(std::optional<LogPartition> partition) {
  std::erase_if(readers_, [](const auto& weak) { return weak.expired(); });
  for (const auto& weak : readers_) {
    const auto reader = weak.lock();
    if (reader != nullptr && (!partition || reader->options.partition == *partition)) reader->pump();
  }
}

LogChunk FakeTopic::cut(LogPartition partition, Offset from, Offset to) {
  // Up to two more on both sides, as batches that were cut by somebody else have them.
  const Offset lead(std::max(begin(partition).value(), from.value() - static_cast<int64_t>(draw(3))));
  const Offset tail(std::min(end(partition).value(), to.value() + static_cast<int64_t>(draw(3))));
  LogChunk chunk{partition, {from, to}, 0, {}};
  std::string bytes;
  RecordBatchBuilder builder;
  for (Offset offset = lead; offset < tail; offset = offset.next()) {
    const auto& record = at(partition).records[static_cast<size_t>(offset.value())];
    if (!record) continue;
    if (!builder.empty() && draw(20) == 0) bytes += builder.finish();
    builder.add(offset, record->timestamp_ms, record->key, record->value);
    if (chunk.range.contains(offset)) ++chunk.records;
  }
  if (!builder.empty()) bytes += builder.finish();
  chunk.bytes = SharedBuffer::of(std::move(bytes));
  return chunk;
}

FakeLog::FakeLog(FakeTopic& topic, TaskLoop& loop, FakeLogOptions options)
    : topic_(topic), loop_(loop), options_(options) {}

FakeLog::~FakeLog() = default;

void FakeLog::describe(std::move_only_function<void(Result<LogDescription>)> done) {
  loop_.schedule(options_.latency, [this, alive = std::weak_ptr(alive_), done = std::move(done)]() mutable {
    if (alive.expired()) return;
    if (!topic_.available_) return done(fail(ErrorCode::kUnavailable, "the fake topic is away"));
    if (topic_.partitions_.empty()) return done(fail(ErrorCode::kNotFound, "the fake topic does not exist"));
    done(topic_.describe());
  });
}

void FakeLog::find_time(int64_t time_ms, std::move_only_function<void(Result<LogOffsets>)> done) {
  loop_.schedule(options_.latency, [this, time_ms, alive = std::weak_ptr(alive_), done = std::move(done)]() mutable {
    if (alive.expired()) return;
    if (!topic_.available_) return done(fail(ErrorCode::kUnavailable, "the fake topic is away"));
    if (topic_.partitions_.empty()) return done(fail(ErrorCode::kNotFound, "the fake topic does not exist"));
    LogOffsets found;
    for (const LogPartition id : topic_.ids()) {
      const FakeTopic::Partition& partition = topic_.at(id);
      const auto begin = partition.records.begin() + partition.begin.value();
      const auto first = std::find_if(begin, partition.records.end(),
                                      [&](const auto& record) { return record && record->timestamp_ms >= time_ms; });
      found[id] = Offset(first - partition.records.begin());
    }
    done(std::move(found));
  });
}

std::unique_ptr<LogReader> FakeLog::open(const LogReaderOptions& options, LogReaderHandler* handler) {
  struct Handle final : LogReader {
    explicit Handle(std::shared_ptr<FakeTopic::Reader> its_reader) : reader(std::move(its_reader)) {}
    ~Handle() override { reader->handler = nullptr; }
    std::shared_ptr<FakeTopic::Reader> reader;
  };
  auto reader = std::make_shared<FakeTopic::Reader>(topic_, loop_, options_, options, handler);
  topic_.readers_.push_back(reader);
  reader->pump();
  return std::make_unique<Handle>(std::move(reader));
}

}  // namespace millrace
