// KafkaFetchLoop: the one thread on which all direct readers of a topic fetch. It waits for their sockets, for their
// times, and for whoever wakes it.
#pragma once

#include <poll.h>

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "adapters/kafka_fetcher.h"
#include "adapters/kafka_reader_settings.h"
#include "adapters/kafka_topic_watch.h"
#include "adapters/system_clock.h"
#include "common/seams/log.h"

namespace millrace {

class KafkaFetchLoop {
 public:
  // One fetcher, as its user holds it. Once closed nothing more is told, though what was told may still be on its way.
  class Ticket {
   public:
    void close();

   private:
    friend class KafkaFetchLoop;
    std::atomic<bool> closed_{false};
    std::function<void()> wake_;
    std::unique_ptr<KafkaFetcher> fetcher_;  // the thread's
  };

  explicit KafkaFetchLoop(KafkaReaderSettings settings);
  ~KafkaFetchLoop();
  KafkaFetchLoop(const KafkaFetchLoop&) = delete;
  KafkaFetchLoop& operator=(const KafkaFetchLoop&) = delete;

  // The topic's id now; all 0 where a broker that has no such ids answers. `done` is called by the other thread, unless
  // that ends before. kUnavailable: no broker tells.
  using IdDone = std::move_only_function<void(Result<KafkaTopicId>)>;
  void ask_topic_id(IdDone done);

  // Of these two the thread is the caller's. `listener` is called by the other one.
  std::shared_ptr<Ticket> open(const LogReaderOptions& options, std::unique_ptr<KafkaFetcher::Listener> listener);
  void stop();

 private:
  class Waker;
  struct Question {
    IdDone done;
    KafkaTopicWatch::AnswerNumber awaited;
    MonotonicTime deadline;
    std::optional<MonotonicTime> differs_since;
  };

  void run();
  bool take_tickets();
  void take_questions(MonotonicTime now);
  void answer_questions(MonotonicTime now);
  std::optional<Result<KafkaTopicId>> answer_to(Question& question, MonotonicTime now);
  void watch_all(std::vector<pollfd>& watched) const;
  [[nodiscard]] MonotonicTime serve_at() const;
  void drop_idle_memory(MonotonicTime now);

  // Constant after construction.
  const KafkaReaderSettings settings_;
  const std::shared_ptr<Waker> waker_;
  const std::shared_ptr<FetchBlocks> blocks_ = std::make_shared<FetchBlocks>();
  const SystemClock clock_;

  std::atomic<bool> stopping_{false};
  std::mutex mutex_;
  std::vector<std::shared_ptr<Ticket>> opened_;  // guarded by mutex_
  std::vector<IdDone> asked_;                    // guarded by mutex_

  // The thread's.
  Unpacker unpacker_;
  HostLookups lookups_;
  KafkaTopicWatch watch_;
  const KafkaFetcher::Shared shared_;
  std::vector<std::shared_ptr<Ticket>> tickets_;
  std::vector<Question> questions_;
  std::optional<KafkaTopicId> told_id_;
  MonotonicTime drop_idle_at_;

  std::thread thread_;
};

}  // namespace millrace
