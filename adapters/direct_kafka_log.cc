#include "adapters/direct_kafka_log.h"

#include <utility>

#include "adapters/kafka_log.h"
#include "common/base/check.h"

namespace millrace {

// The loop's. What the thread tells is posted, and finds that the reader is gone by `reader` being null.
class DirectKafkaLog::Reader final : public LogReader {
 public:
  struct Link {
    Reader* reader = nullptr;
  };

  Reader(DirectKafkaLog& log, const LogReaderOptions& options, LogReaderHandler* handler)
      : log_(log), options_(options), handler_(handler), link_(std::make_shared<Link>(this)) {
    ++log_.readers_;
  }
  ~Reader() override {
    link_->reader = nullptr;
    ticket_->close();
    --log_.readers_;
  }

  [[nodiscard]] const std::shared_ptr<Link>& link() const { return link_; }
  void hold(std::shared_ptr<KafkaFetchLoop::Ticket> ticket) { ticket_ = std::move(ticket); }

  [[nodiscard]] LogReaderHandler& handler() const { return *handler_; }
  [[nodiscard]] LogPartition partition() const { return options_.partition; }

  void fall_back(Offset position, const std::string& why) {
    LOG(WARNING) << why << "; it is read by librdkafka from offset " << position.value()
                 << " on, which takes more time";
    LogReaderOptions rest = options_;
    rest.from = position;
    const auto log = log_.librdkafka();
    if (!log) return handler_->on_log_error(options_.partition, log.error());
    by_librdkafka_ = (*log)->open(rest, handler_);
  }

 private:
  DirectKafkaLog& log_;
  const LogReaderOptions options_;
  LogReaderHandler* const handler_;
  const std::shared_ptr<Link> link_;
  std::shared_ptr<KafkaFetchLoop::Ticket> ticket_;
  std::unique_ptr<LogReader> by_librdkafka_;
};

// The thread's.
class DirectKafkaLog::ToLoop final : public KafkaFetcher::Listener {
 public:
  ToLoop(TaskLoop& loop, std::shared_ptr<Reader::Link> link) : loop_(loop), link_(std::move(link)) {}

  void on_chunk(LogChunk chunk) override {
    post([chunk = std::move(chunk)](Reader& reader) mutable { reader.handler().on_chunk(std::move(chunk)); });
  }
  void on_error(const Error& error) override {
    post([error](Reader& reader) { reader.handler().on_log_error(reader.partition(), error); });
  }
  void on_back() override {
    post([](Reader& reader) { reader.handler().on_log_back(reader.partition()); });
  }
  void on_fall_back(Offset position, const std::string& why) override {
    post([position, why](Reader& reader) { reader.fall_back(position, why); });
  }

 private:
  template <typename Call>
  void post(Call call) {
    loop_.post([link = link_, call = std::move(call)]() mutable {
      if (link->reader != nullptr) call(*link->reader);
    });
  }

  TaskLoop& loop_;
  const std::shared_ptr<Reader::Link> link_;
};

DirectKafkaLog::~DirectKafkaLog() {
  CHECK_EQ(readers_, 0u) << "readers outlive their log";
}

Result<Log*> DirectKafkaLog::librdkafka() {
  if (librdkafka_ == nullptr) {
    auto made = KafkaLog::make(options_, loop_);
    if (!made) return std::unexpected(made.error());
    librdkafka_ = std::move(*made);
  }
  return librdkafka_.get();
}

// librdkafka 2.0 tells all but the topic's id.
void DirectKafkaLog::describe(std::move_only_function<void(Result<LogDescription>)> done) {
  const auto log = librdkafka();
  if (!log) return answer(std::move(done), Result<LogDescription>(std::unexpected(log.error())));
  (*log)->describe([this, done = std::move(done)](Result<LogDescription> described) mutable {
    if (!described) return done(std::move(described));
    fetch_loop_.ask_topic_id(
        [this, described = std::move(described), done = std::move(done)](Result<KafkaTopicId> id) mutable {
          if (!id) {
            described = std::unexpected(id.error());
          } else if (*id != KafkaTopicId{}) {
            described->topic_id = id->hex();
          }
          answer(std::move(done), std::move(described));
        });
  });
}

void DirectKafkaLog::find_time(int64_t time_ms, std::move_only_function<void(Result<LogOffsets>)> done) {
  const auto log = librdkafka();
  if (!log) return answer(std::move(done), Result<LogOffsets>(std::unexpected(log.error())));
  (*log)->find_time(time_ms, std::move(done));
}

// By any thread.
template <typename Answer>
void DirectKafkaLog::answer(std::move_only_function<void(Result<Answer>)> done, Result<Answer> what) {
  loop_.post([alive = std::weak_ptr(alive_), done = std::move(done), what = std::move(what)]() mutable {
    if (!alive.expired()) done(std::move(what));
  });
}

std::unique_ptr<LogReader> DirectKafkaLog::open(const LogReaderOptions& options, LogReaderHandler* handler) {
  auto reader = std::make_unique<Reader>(*this, options, handler);
  reader->hold(fetch_loop_.open(options, std::make_unique<ToLoop>(loop_, reader->link())));
  return reader;
}

void DirectKafkaLog::prepare_to_end() {
  if (librdkafka_ != nullptr) librdkafka_->prepare_to_end();
  fetch_loop_.stop();
}

}  // namespace millrace
