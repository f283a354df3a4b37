#include "adapters/kafka_log.h"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "adapters/kafka_handle.h"
#include "adapters/kafka_stream.h"
#include "adapters/log_questions.h"
#include "common/base/check.h"

namespace millrace {
namespace {

constexpr size_t kChunkBytes = 1 << 20;  // the engine cuts batches at chunks' ends
constexpr Duration kDescribeTimeout = std::chrono::seconds(5);
constexpr Duration kLongestSleep = std::chrono::seconds(1);  // librdkafka wants to be polled now and then

// The read-ahead of one reader: bytes of chunks that were delivered and not yet released.
struct Credit {
  explicit Credit(std::shared_ptr<KafkaWaker> its_waker) : waker(std::move(its_waker)) {}
  std::shared_ptr<KafkaWaker> waker;
  std::atomic<size_t> taken{0};
};

struct ChunkOwner {
  std::string bytes;
  std::shared_ptr<Credit> credit;

  ChunkOwner(std::string its_bytes, std::shared_ptr<Credit> its_credit)
      : bytes(std::move(its_bytes)), credit(std::move(its_credit)) {}
  ChunkOwner(const ChunkOwner&) = delete;
  ChunkOwner& operator=(const ChunkOwner&) = delete;
  ~ChunkOwner() {
    credit->taken.fetch_sub(bytes.size());
    credit->waker->wake();
  }
};

struct ReaderState {
  ReaderState(const LogReaderOptions& its_options, LogReaderHandler* its_handler, std::shared_ptr<KafkaWaker> waker)
      : options(its_options), handler(its_handler), credit(std::make_shared<Credit>(std::move(waker))) {}

  const LogReaderOptions options;
  LogReaderHandler* handler;  // the loop's: null once the reader is deleted; else outlives it
  std::atomic<bool> closed{false};
  const std::shared_ptr<Credit> credit;

  // The thread's.
  std::unique_ptr<KafkaStream> stream;  // null: not begun, or ended
  bool ended = false;
  bool told_unavailable = false;
  bool told_away = false;  // that no broker answers
};
using ReaderList = std::vector<std::shared_ptr<ReaderState>>;

}  // namespace

class KafkaLog::Core {
 public:
  Core(KafkaOptions options, TaskLoop& loop, std::shared_ptr<KafkaWaker> waker, std::unique_ptr<KafkaHandle> handle)
      : options_(std::move(options)), loop_(loop), waker_(std::move(waker)) {
    handles_.push_back(std::move(handle));
    thread_ = std::thread([this] { run(); });
  }

  ~Core() {
    stop();
    thread_.join();
    *alive_ = false;
  }

  void stop() {
    stopping_ = true;
    waker_->wake();
  }

  void describe(std::move_only_function<void(Result<LogDescription>)> done) {
    questions_.ask([this] { return handles_.front()->describe(kDescribeTimeout, stopping_); }, std::move(done));
    waker_->wake();
  }
  void find_time(int64_t time_ms, std::move_only_function<void(Result<LogOffsets>)> done) {
    questions_.ask([this, time_ms] { return handles_.front()->find_time(time_ms, kDescribeTimeout, stopping_); },
                   std::move(done));
    waker_->wake();
  }

  std::shared_ptr<ReaderState> add(const LogReaderOptions& options, LogReaderHandler* handler) {
    auto reader = std::make_shared<ReaderState>(options, handler, waker_);
    {
      const std::scoped_lock lock(mutex_);
      opened_.push_back(reader);
    }
    waker_->wake();
    return reader;
  }

  void remove(ReaderState& reader) {
    reader.handler = nullptr;
    reader.closed = true;
    waker_->wake();
  }

 private:
  void run();
  void take_readers();
  bool serve(const std::shared_ptr<ReaderState>& reader);
  Result<KafkaHandle*> free_handle(LogPartition partition);
  bool begin(const std::shared_ptr<ReaderState>& reader);
  bool deliver(const std::shared_ptr<ReaderState>& reader);
  void deliver_piece(const std::shared_ptr<ReaderState>& reader, KafkaStream::Piece piece);
  void report(const std::shared_ptr<ReaderState>& reader, const Error& error);

  // Constant after construction.
  const KafkaOptions options_;
  TaskLoop& loop_;  // outlives this
  const std::shared_ptr<KafkaWaker> waker_;
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // the loop's

  LogQuestions questions_{loop_, alive_};
  std::atomic<bool> stopping_{false};
  std::mutex mutex_;
  ReaderList opened_;  // guarded by mutex_

  // The thread's.
  std::vector<std::unique_ptr<KafkaHandle>> handles_;  // never empty; outlive the streams
  ReaderList readers_;

  std::thread thread_;
};

void KafkaLog::Core::run() {
  pthread_setname_np(pthread_self(), "kafka-log");
  while (!stopping_) {
    take_readers();
    questions_.answer();
    for (const auto& handle : handles_) {
      handle->poll();
      handle->probe();
    }
    bool busy = false;
    for (const auto& reader : readers_) busy = serve(reader) || busy;
    if (!busy) waker_->sleep(kLongestSleep);
  }
  // Chunks that are posted hold the readers' states; the streams have to go before the handles.
  for (const auto& reader : readers_) reader->stream = nullptr;
  readers_.clear();
  const std::scoped_lock lock(mutex_);
  for (const auto& reader : opened_) CHECK(reader->stream == nullptr);
  for (const auto& handle : handles_) handle->poll();
  handles_.clear();
}

void KafkaLog::Core::take_readers() {
  // Ended ones first: they free what the new ones need. Their states may be held longer by posted chunks.
  for (const auto& reader : readers_) {
    if (reader->closed) reader->stream = nullptr;
  }
  std::erase_if(readers_, [](const auto& reader) { return reader->closed.load(); });
  const std::scoped_lock lock(mutex_);
  readers_.insert(readers_.end(), opened_.begin(), opened_.end());
  opened_.clear();
}

bool KafkaLog::Core::serve(const std::shared_ptr<ReaderState>& reader) {
  if (reader->closed || reader->ended) return false;
  if (reader->stream == nullptr && !begin(reader)) return false;
  const KafkaHandle& handle = reader->stream->handle();
  if (handle.away()) {
    reader->told_away = true;
    report(reader, {ErrorCode::kUnavailable, "no broker of " + options_.brokers + " answers: " + handle.why_away() +
                                                 "; going on when one is back"});
  } else if (std::exchange(reader->told_away, false)) {
    reader->told_unavailable = false;
    loop_.post([reader] {
      if (reader->handler != nullptr) reader->handler->on_log_back(reader->options.partition);
    });
  }
  return deliver(reader);
}

Result<KafkaHandle*> KafkaLog::Core::free_handle(LogPartition partition) {
  for (const auto& handle : handles_) {
    if (!handle->reads(partition)) return handle.get();
  }
  if (handles_.size() >= kMostHandles) return nullptr;
  auto handle = KafkaHandle::make(options_, *waker_);
  if (!handle) return std::unexpected(handle.error());
  handles_.push_back(std::move(*handle));
  return handles_.back().get();
}

bool KafkaLog::Core::begin(const std::shared_ptr<ReaderState>& reader) {
  if (reader->options.until && reader->options.from >= *reader->options.until) {
    reader->ended = true;
    return false;
  }
  const auto handle = free_handle(reader->options.partition);
  if (!handle) {
    report(reader, handle.error());
    return false;
  }
  if (*handle == nullptr) return false;
  auto stream = KafkaStream::start(**handle, options_, reader->options);
  if (!stream) {
    report(reader, stream.error());
    return false;
  }
  reader->stream = std::move(*stream);
  return true;
}

bool KafkaLog::Core::deliver(const std::shared_ptr<ReaderState>& reader) {
  const size_t taken = reader->credit->taken;
  const size_t allowed = reader->options.read_ahead_bytes;
  const size_t left = allowed > taken ? allowed - taken : 0;
  if (left == 0 && taken > 0) return false;
  KafkaStream::Step step = reader->stream->next(std::min(kChunkBytes, left), taken == 0 ? SIZE_MAX : left);
  if (auto* const error = std::get_if<Error>(&step)) {
    report(reader, *error);
    return true;
  }
  if (auto* const piece = std::get_if<KafkaStream::Piece>(&step)) {
    deliver_piece(reader, std::move(*piece));
    if (reader->stream->finished()) {
      reader->ended = true;
      reader->stream = nullptr;
    }
    return true;
  }
  return false;
}

void KafkaLog::Core::deliver_piece(const std::shared_ptr<ReaderState>& reader, KafkaStream::Piece piece) {
  reader->told_unavailable = false;
  reader->credit->taken.fetch_add(piece.bytes.size());
  auto owner = std::make_shared<const ChunkOwner>(std::move(piece.bytes), reader->credit);
  const std::string_view bytes = owner->bytes;
  LogChunk chunk{reader->options.partition, piece.range, piece.records, SharedBuffer(std::move(owner), bytes)};
  loop_.post([reader, chunk = std::move(chunk)]() mutable {
    if (reader->handler != nullptr) reader->handler->on_chunk(std::move(chunk));
  });
}

void KafkaLog::Core::report(const std::shared_ptr<ReaderState>& reader, const Error& error) {
  if (error.code == ErrorCode::kUnavailable) {
    if (std::exchange(reader->told_unavailable, true)) return;
  } else {
    reader->ended = true;
    reader->stream = nullptr;
  }
  loop_.post([reader, error] {
    if (reader->handler != nullptr) reader->handler->on_log_error(reader->options.partition, error);
  });
}

class KafkaLog::Reader final : public LogReader {
 public:
  Reader(std::shared_ptr<Core> core, std::shared_ptr<ReaderState> state)
      : core_(std::move(core)), state_(std::move(state)) {}
  ~Reader() override { core_->remove(*state_); }

 private:
  std::shared_ptr<Core> core_;
  std::shared_ptr<ReaderState> state_;
};

Result<std::unique_ptr<KafkaLog>> KafkaLog::make(KafkaOptions options, TaskLoop& loop) {
  if (Status valid = check_kafka_options(options); !valid) return std::unexpected(valid.error());
  auto waker = std::make_shared<KafkaWaker>();
  auto handle = KafkaHandle::make(options, *waker);
  if (!handle) return std::unexpected(handle.error());
  auto core = std::make_shared<Core>(std::move(options), loop, std::move(waker), std::move(*handle));
  return std::unique_ptr<KafkaLog>(new KafkaLog(std::move(core)));
}

KafkaLog::KafkaLog(std::shared_ptr<Core> core) : core_(std::move(core)) {}
KafkaLog::~KafkaLog() {
  CHECK_EQ(core_.use_count(), 1) << "readers outlive their log";
}

void KafkaLog::describe(std::move_only_function<void(Result<LogDescription>)> done) {
  core_->describe(std::move(done));
}

void KafkaLog::find_time(int64_t time_ms, std::move_only_function<void(Result<LogOffsets>)> done) {
  core_->find_time(time_ms, std::move(done));
}

void KafkaLog::prepare_to_end() {
  core_->stop();
}

std::unique_ptr<LogReader> KafkaLog::open(const LogReaderOptions& options, LogReaderHandler* handler) {
  return std::make_unique<Reader>(core_, core_->add(options, handler));
}

}  // namespace millrace
