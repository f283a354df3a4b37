#include "adapters/memory_log.h"

#include <algorithm>
#include <atomic>
#include <optional>
#include <string>
#include <utility>

#include "common/base/check.h"
#include "common/model/record_batch.h"

namespace millrace {
namespace {

// Of a record beside its value, at most, and of a batch.
constexpr size_t kRecordOverhead = 32;

}  // namespace

// One open reader. Appends and released chunks wake it; it delivers on its loop.
struct MemoryTopic::Reader : std::enable_shared_from_this<MemoryTopic::Reader> {
  Reader(std::shared_ptr<MemoryTopic> its_topic, TaskLoop& its_loop, const LogReaderOptions& its_options,
         LogReaderHandler* its_handler)
      : topic(std::move(its_topic)),
        options(its_options),
        handler(its_handler),
        next(its_options.from),
        loop_(&its_loop) {}

  // What a chunk holds on to; gives the credit back.
  struct Credit {
    Credit(std::shared_ptr<Reader> its_reader, SharedBuffer its_bytes)
        : reader(std::move(its_reader)), bytes(std::move(its_bytes)) {
      reader->taken += bytes.size();
    }
    Credit(const Credit&) = delete;
    Credit& operator=(const Credit&) = delete;
    ~Credit() {
      reader->taken -= bytes.size();
      reader->wake();
    }
    const std::shared_ptr<Reader> reader;
    const SharedBuffer bytes;
  };

  // Any thread.
  void wake() {
    if (awake.exchange(true)) return;
    const std::scoped_lock lock(mutex_);
    if (loop_ == nullptr) return;
    loop_->post([self = shared_from_this()] { self->deliver(); });
  }

  void end() {
    handler = nullptr;
    const std::scoped_lock lock(mutex_);
    loop_ = nullptr;
  }

  void deliver() {
    awake = false;
    while (handler != nullptr && !ended && !(options.until && next >= *options.until)) {
      Result<Appended> found = topic->find(options.partition, next);
      if (!found) {
        ended = true;
        handler->on_log_error(options.partition, found.error());
        return;
      }
      if (found->bytes.empty()) return;
      const size_t held = taken;
      if (held > 0 && held + found->bytes.size() > options.read_ahead_bytes) return;
      OffsetRange range{next, found->range.to};
      if (options.until) range.to = std::min(range.to, *options.until);
      next = range.to;
      const std::string_view bytes = found->bytes.view();
      auto credit = std::make_shared<Credit>(shared_from_this(), std::move(found->bytes));
      handler->on_chunk(
          {options.partition, range, range.to.value() - range.from.value(), SharedBuffer(std::move(credit), bytes)});
    }
  }

  const std::shared_ptr<MemoryTopic> topic;
  const LogReaderOptions options;
  std::atomic<bool> awake{false};  // it is going to look for records
  std::atomic<size_t> taken{0};    // bytes of chunks that were delivered and not yet released

  // The loop's.
  LogReaderHandler* handler;  // null once the reader is deleted
  Offset next;
  bool ended = false;

 private:
  std::mutex mutex_;
  TaskLoop* loop_;  // null once the reader is deleted
};

MemoryTopic::MemoryTopic(int32_t partitions, size_t max_bytes)
    : max_bytes_(max_bytes), partitions_(static_cast<size_t>(partitions)) {}

MemoryTopic::Partition& MemoryTopic::at(LogPartition partition) {
  return partitions_.at(static_cast<size_t>(partition.value()));
}
const MemoryTopic::Partition& MemoryTopic::at(LogPartition partition) const {
  return partitions_.at(static_cast<size_t>(partition.value()));
}

bool MemoryTopic::append(LogPartition partition, std::span<const std::string_view> records, int64_t timestamp_ms) {
  CHECK(!records.empty());
  const Offset from = end(partition);
  size_t capacity = RecordBatchView::kHeaderBytes;
  for (const std::string_view record : records) capacity += record.size() + kRecordOverhead;
  RecordBatchBuilder builder(capacity);
  Offset to = from;
  for (const std::string_view record : records) {
    builder.add(to, timestamp_ms, std::nullopt, record);
    to = to.next();
  }
  SharedBuffer bytes = SharedBuffer::of(builder.finish(RecordBatchBuilder::Checksum::kNone));

  std::vector<std::weak_ptr<Reader>> readers;
  {
    std::unique_lock lock(mutex_);
    room_.wait(lock, [&] { return closed_ || held_bytes_ == 0 || held_bytes_ + bytes.size() <= max_bytes_; });
    if (closed_) return false;
    Partition& to_append = at(partition);
    held_bytes_ += bytes.size();
    to_append.appended.push_back({{from, to}, std::move(bytes)});
    to_append.end = to;
    std::erase_if(to_append.readers, [](const auto& reader) { return reader.expired(); });
    readers = to_append.readers;
  }
  for (const auto& weak : readers) {
    if (const auto reader = weak.lock()) reader->wake();
  }
  return true;
}

void MemoryTopic::close() {
  const std::scoped_lock lock(mutex_);
  closed_ = true;
  room_.notify_all();
}

void MemoryTopic::forget_below(LogPartition partition, Offset offset) {
  std::vector<SharedBuffer> forgotten;  // freed without the lock
  const std::scoped_lock lock(mutex_);
  Partition& from = at(partition);
  while (!from.appended.empty() && from.appended.front().range.to <= offset) {
    from.begin = from.appended.front().range.to;
    held_bytes_ -= from.appended.front().bytes.size();
    forgotten.push_back(std::move(from.appended.front().bytes));
    from.appended.pop_front();
  }
  if (!forgotten.empty()) room_.notify_all();
}

LogDescription MemoryTopic::describe() const {
  LogDescription description;
  const std::scoped_lock lock(mutex_);
  for (size_t index = 0; index < partitions_.size(); ++index) {
    description.partitions.push_back(
        {LogPartition(static_cast<int32_t>(index)), partitions_[index].begin, partitions_[index].end});
  }
  return description;
}

Offset MemoryTopic::end(LogPartition partition) const {
  const std::scoped_lock lock(mutex_);
  return at(partition).end;
}

Result<LogOffsets> MemoryTopic::find_time(int64_t time_ms) const {
  LogOffsets offsets;
  const std::scoped_lock lock(mutex_);
  if (partitions_.empty()) return fail(ErrorCode::kNotFound, "there is no such log in memory");
  for (const Partition& partition : partitions_) {
    std::optional<Offset> first;
    for (const Appended& each : partition.appended) {
      auto found = millrace::find_time(each.bytes.view(), each.range.from, time_ms);
      if (!found) return std::unexpected(found.error());
      first = *found;
      if (first) break;
    }
    const LogPartition id(static_cast<int32_t>(offsets.size()));
    offsets[id] = first.value_or(partition.end);
  }
  return offsets;
}

Result<MemoryTopic::Appended> MemoryTopic::find(LogPartition partition, Offset offset) const {
  const std::scoped_lock lock(mutex_);
  const Partition& in = at(partition);
  if (offset < in.begin || offset > in.end) {
    return fail(ErrorCode::kDataLost, "offset " + std::to_string(offset.value()) + " of partition " +
                                          std::to_string(partition.value()) + " is not held in memory");
  }
  const auto found =
      std::ranges::upper_bound(in.appended, offset, {}, [](const Appended& each) { return each.range.to; });
  if (found == in.appended.end()) return Appended{};
  return *found;
}

void MemoryTopic::add_reader(const std::shared_ptr<Reader>& reader) {
  const std::scoped_lock lock(mutex_);
  at(reader->options.partition).readers.push_back(reader);
}

MemoryLog::MemoryLog(std::shared_ptr<MemoryTopic> topic, TaskLoop& loop) : topic_(std::move(topic)), loop_(loop) {}

void MemoryLog::describe(std::move_only_function<void(Result<LogDescription>)> done) {
  loop_.post([weak = std::weak_ptr(alive_), topic = topic_, done = std::move(done)]() mutable {
    if (weak.expired()) return;
    LogDescription description = topic->describe();
    if (description.partitions.empty()) return done(fail(ErrorCode::kNotFound, "there is no such log in memory"));
    done(std::move(description));
  });
}

void MemoryLog::find_time(int64_t time_ms, std::move_only_function<void(Result<LogOffsets>)> done) {
  loop_.post([weak = std::weak_ptr(alive_), topic = topic_, time_ms, done = std::move(done)]() mutable {
    if (!weak.expired()) done(topic->find_time(time_ms));
  });
}

std::unique_ptr<LogReader> MemoryLog::open(const LogReaderOptions& options, LogReaderHandler* handler) {
  struct Handle final : LogReader {
    explicit Handle(std::shared_ptr<MemoryTopic::Reader> its_reader) : reader(std::move(its_reader)) {}
    Handle(const Handle&) = delete;
    Handle& operator=(const Handle&) = delete;
    ~Handle() override { reader->end(); }
    const std::shared_ptr<MemoryTopic::Reader> reader;
  };
  auto reader = std::make_shared<MemoryTopic::Reader>(topic_, loop_, options, handler);
  topic_->add_reader(reader);
  reader->wake();
  return std::make_unique<Handle>(std::move(reader));
}

}  // namespace millrace
