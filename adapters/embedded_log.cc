#include "adapters/embedded_log.h"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "adapters/embedded_log_files.h"
#include "adapters/embedded_log_segment_reader.h"
#include "adapters/embedded_log_waker.h"
#include "adapters/log_questions.h"
#include "common/base/check.h"
#include "common/model/record_batch.h"

namespace millrace {
namespace {

constexpr size_t kChunkBytes = 1 << 20;  // the engine cuts batches at chunks' ends
constexpr int kTryAgainMs = 200;         // for a log that is not there yet

// What a chunk holds on to: the mapping, and the credit that it gives back in the end.
struct ChunkOwner {
  std::shared_ptr<FileMapping> mapping;
  std::shared_ptr<EmbeddedLogCredit> credit;
  size_t bytes;

  ChunkOwner(std::shared_ptr<FileMapping> its_mapping, std::shared_ptr<EmbeddedLogCredit> its_credit, size_t its_bytes)
      : mapping(std::move(its_mapping)), credit(std::move(its_credit)), bytes(its_bytes) {}
  ChunkOwner(const ChunkOwner&) = delete;
  ChunkOwner& operator=(const ChunkOwner&) = delete;
  ~ChunkOwner() { credit->give_back(bytes); }
};

struct ReaderState {
  ReaderState(const LogReaderOptions& its_options, const std::filesystem::path& log, LogReaderHandler* its_handler,
              std::shared_ptr<EmbeddedLogWaker> waker)
      : options(its_options),
        handler(its_handler),
        credit(std::make_shared<EmbeddedLogCredit>(std::move(waker))),
        segments(partition_folder(log, its_options.partition), its_options.from, its_options.until) {}

  const LogReaderOptions options;
  LogReaderHandler* handler;  // the loop's: null once the reader is deleted; else outlives it
  std::atomic<bool> closed{false};
  const std::shared_ptr<EmbeddedLogCredit> credit;

  // The reading thread's.
  EmbeddedLogSegmentReader segments;
  bool ended = false;
  bool told_unavailable = false;
};

}  // namespace

class EmbeddedLog::Core {
 public:
  Core(std::filesystem::path root, std::string name, TaskLoop& loop)
      : log_(root / name), loop_(loop), thread_([this] { run(); }) {}

  ~Core() {
    {
      const std::scoped_lock lock(mutex_);
      CHECK(readers_.empty()) << "readers of " << log_ << " outlive it";
    }
    stopping_ = true;
    waker_->wake();
    thread_.join();
    *alive_ = false;
  }

  void describe(std::move_only_function<void(Result<LogDescription>)> done) {
    questions_.ask([this] { return describe_now(); }, std::move(done));
    waker_->wake();
  }
  void find_time(int64_t time_ms, std::move_only_function<void(Result<LogOffsets>)> done) {
    questions_.ask([this, time_ms] { return find_time_now(time_ms); }, std::move(done));
    waker_->wake();
  }

  std::shared_ptr<ReaderState> add(const LogReaderOptions& options, LogReaderHandler* handler) {
    auto reader = std::make_shared<ReaderState>(options, log_, handler, waker_);
    {
      const std::scoped_lock lock(mutex_);
      readers_.push_back(reader);
    }
    waker_->wake();
    return reader;
  }

  void remove(const std::shared_ptr<ReaderState>& reader) {
    reader->handler = nullptr;
    reader->closed = true;
    const std::scoped_lock lock(mutex_);
    std::erase(readers_, reader);
  }

 private:
  void run();
  std::vector<std::shared_ptr<ReaderState>> readers();
  Status connect();
  Result<LogDescription> describe_now();
  Result<LogOffsets> find_time_now(int64_t time_ms);
  bool serve(const std::shared_ptr<ReaderState>& reader);
  bool deliver(const std::shared_ptr<ReaderState>& reader, const Announced& announced);
  void report(const std::shared_ptr<ReaderState>& reader, Error error);

  // Constant after construction.
  const std::filesystem::path log_;
  TaskLoop& loop_;  // outlives this
  const std::shared_ptr<EmbeddedLogWaker> waker_ = std::make_shared<EmbeddedLogWaker>();
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // the loop's

  LogQuestions questions_{loop_, alive_};
  std::atomic<bool> stopping_{false};
  std::mutex mutex_;
  std::vector<std::shared_ptr<ReaderState>> readers_;  // guarded by mutex_

  // The reading thread's.
  EmbeddedLogIdentity identity_;
  std::shared_ptr<Announcement> announcement_;
  bool try_again_ = false;

  std::thread thread_;
};

void EmbeddedLog::Core::run() {
  pthread_setname_np(pthread_self(), "embedded-log");
  for (;;) {
    waker_->prepare();
    if (stopping_) return;
    bool busy = questions_.answer();
    try_again_ = false;
    for (const auto& reader : readers()) busy = serve(reader) || busy;
    if (!busy) waker_->sleep(try_again_ ? kTryAgainMs : -1);
  }
}

std::vector<std::shared_ptr<ReaderState>> EmbeddedLog::Core::readers() {
  const std::scoped_lock lock(mutex_);
  return readers_;
}

Status EmbeddedLog::Core::connect() {
  if (announcement_) return {};
  const auto identity = read_identity(log_);
  if (!identity) return std::unexpected(identity.error());
  auto announcement = Announcement::open(log_, identity->partitions);
  if (!announcement) return std::unexpected(announcement.error());
  identity_ = *identity;
  announcement_ = *announcement;
  waker_->attach(announcement_);
  return {};
}

Result<LogDescription> EmbeddedLog::Core::describe_now() {
  const auto identity = read_identity(log_);
  if (!identity) return std::unexpected(identity.error());
  if (identity->topic_id != identity_.topic_id) announcement_ = nullptr;
  if (Status connected = connect(); !connected) return std::unexpected(connected.error());
  LogDescription description{identity_.topic_id, {}, {}};
  for (int32_t index = 0; index < identity_.partitions; ++index) {
    const auto announced = announcement_->read(LogPartition(index));
    if (!announced) {
      return fail(ErrorCode::kUnavailable, "partition " + std::to_string(index) + " of " + log_.string() +
                                               " is not announced; look at the log of the master that owns it");
    }
    description.partitions.push_back({LogPartition(index), announced->begin, announced->end, -1});
  }
  return description;
}

// Reads from the begin: the times of records that several writers append need not ascend.
Result<LogOffsets> EmbeddedLog::Core::find_time_now(int64_t time_ms) {
  const auto description = describe_now();
  if (!description) return std::unexpected(description.error());
  LogOffsets offsets;
  for (const LogDescription::Partition& partition : description->partitions) {
    const auto announced = announcement_->read(partition.id);
    if (!announced) return fail(ErrorCode::kUnavailable, log_.string() + " is not announced; try again");
    EmbeddedLogSegmentReader segments(partition_folder(log_, partition.id), announced->begin, std::nullopt);
    std::optional<Offset> first;
    while (!first && !stopping_) {
      const Offset from = segments.offset();
      const auto piece = segments.next(*announced, kChunkBytes, SIZE_MAX);
      if (!piece) return std::unexpected(piece.error());
      if (!*piece) break;
      auto found = millrace::find_time((*piece)->bytes, from, time_ms);
      if (!found) return std::unexpected(found.error());
      first = *found;
    }
    offsets[partition.id] = first.value_or(announced->end);
  }
  return offsets;
}

bool EmbeddedLog::Core::serve(const std::shared_ptr<ReaderState>& reader) {
  if (reader->closed || reader->ended) return false;
  if (Status connected = connect(); !connected) {
    report(reader, connected.error());
    return false;
  }
  const LogPartition partition = reader->options.partition;
  if (partition.value() < 0 || partition.value() >= identity_.partitions) {
    report(reader, {ErrorCode::kDataLost, log_.string() + " has no partition " + std::to_string(partition.value())});
    return false;
  }
  const auto announced = announcement_->read(partition);
  if (!announced) {
    report(reader, {ErrorCode::kUnavailable, "partition " + std::to_string(partition.value()) + " of " + log_.string() +
                                                 " is not announced yet"});
    return false;
  }
  return deliver(reader, *announced);
}

bool EmbeddedLog::Core::deliver(const std::shared_ptr<ReaderState>& reader, const Announced& announced) {
  const size_t taken = reader->credit->taken();
  const size_t allowed = reader->options.read_ahead_bytes;
  const size_t left = allowed > taken ? allowed - taken : 0;
  if (left == 0 && taken > 0) return false;
  auto piece = reader->segments.next(announced, std::min(kChunkBytes, left), taken == 0 ? SIZE_MAX : left);
  if (!piece) {
    report(reader, piece.error());
    return false;
  }
  reader->told_unavailable = false;
  reader->ended = reader->segments.finished();
  if (!*piece) return false;
  const size_t bytes = (*piece)->bytes.size();
  reader->credit->take(bytes);
  auto owner = std::make_shared<ChunkOwner>((*piece)->mapping, reader->credit, bytes);
  LogChunk chunk{reader->options.partition, (*piece)->range, (*piece)->records,
                 SharedBuffer(std::move(owner), (*piece)->bytes)};
  loop_.post([reader, chunk = std::move(chunk)]() mutable {
    if (reader->handler != nullptr) reader->handler->on_chunk(std::move(chunk));
  });
  return true;
}

void EmbeddedLog::Core::report(const std::shared_ptr<ReaderState>& reader, Error error) {
  const bool lasting = error.code == ErrorCode::kDataLost || error.code == ErrorCode::kCorrupt;
  if (lasting) {
    reader->ended = true;
  } else {
    // A file may be there later: an owner that has not started yet, too many open files.
    error.code = ErrorCode::kUnavailable;
    try_again_ = true;
    if (std::exchange(reader->told_unavailable, true)) return;
  }
  loop_.post([reader, error = std::move(error)] {
    if (reader->handler != nullptr) reader->handler->on_log_error(reader->options.partition, error);
  });
}

class EmbeddedLog::Reader final : public LogReader {
 public:
  Reader(std::shared_ptr<Core> core, std::shared_ptr<ReaderState> state)
      : core_(std::move(core)), state_(std::move(state)) {}
  ~Reader() override { core_->remove(state_); }

 private:
  std::shared_ptr<Core> core_;
  std::shared_ptr<ReaderState> state_;
};

EmbeddedLog::EmbeddedLog(std::filesystem::path root, std::string name, TaskLoop& loop)
    : core_(std::make_shared<Core>(std::move(root), std::move(name), loop)) {}

EmbeddedLog::~EmbeddedLog() {
  CHECK_EQ(core_.use_count(), 1) << "readers outlive their log";
}

void EmbeddedLog::describe(std::move_only_function<void(Result<LogDescription>)> done) {
  core_->describe(std::move(done));
}

void EmbeddedLog::find_time(int64_t time_ms, std::move_only_function<void(Result<LogOffsets>)> done) {
  core_->find_time(time_ms, std::move(done));
}

std::unique_ptr<LogReader> EmbeddedLog::open(const LogReaderOptions& options, LogReaderHandler* handler) {
  return std::make_unique<Reader>(core_, core_->add(options, handler));
}

}  // namespace millrace
