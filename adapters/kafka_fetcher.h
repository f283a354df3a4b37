// KafkaFetcher: reads one partition by Fetch requests, from its leader, whoever that becomes, on a connection of its
// own: a broker answers a connection's questions in turn, so one that waits for news of a partition would hold up all
// others. The next answer is asked for before the one that came is handed on. What follows from an error is decided by
// adapters/kafka_answers.h. Belongs to the thread of a KafkaFetchLoop.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "adapters/fetch_buffer.h"
#include "adapters/kafka_answers.h"
#include "adapters/kafka_codec.h"
#include "adapters/kafka_dialogue.h"
#include "adapters/kafka_reader_settings.h"
#include "adapters/kafka_topic_watch.h"
#include "common/base/time.h"
#include "common/seams/log.h"

namespace millrace {

class KafkaFetcher {
 public:
  // Called by serve().
  class Listener {
   public:
    virtual ~Listener() = default;
    virtual void on_chunk(LogChunk chunk) = 0;
    virtual void on_error(const Error& error) = 0;  // as LogReaderHandler's
    virtual void on_back() = 0;
    // Nothing more comes: from `position` on it is librdkafka's.
    virtual void on_fall_back(Offset position, const std::string& why) = 0;
  };

  // What all fetchers of a thread share; outlives them.
  struct Shared {
    const KafkaReaderSettings& settings;
    KafkaTopicWatch& watch;
    Unpacker& unpacker;
    std::shared_ptr<FetchBlocks> blocks;
    HostLookups& lookups;
    std::function<void()> wake;  // when there is credit; called by any thread, and later
  };

  KafkaFetcher(const Shared& shared, const LogReaderOptions& options, std::unique_ptr<Listener> listener);

  void serve(MonotonicTime now, short events);
  [[nodiscard]] int descriptor() const { return dialogue_ ? dialogue_->descriptor() : -1; }
  [[nodiscard]] short wanted_events() const { return dialogue_->wanted_events(); }
  [[nodiscard]] MonotonicTime serve_at() const;

  // When records came last.
  [[nodiscard]] MonotonicTime busy_at() const { return busy_at_; }

 private:
  void go_on(MonotonicTime now);
  void find_leader(MonotonicTime now);
  void obey(LeaderVerdict verdict, MonotonicTime now);
  void take_leader();
  void fetch(MonotonicTime now);
  void take_answer(MonotonicTime now);
  void obey(FetchStep step, int16_t error, MonotonicTime now);
  void take_records(const FetchAnswer& answer, MonotonicTime now);
  Status hand_on(const FetchAnswer& answer, OffsetRange range);
  void suspect(const std::string& problem, MonotonicTime now);
  void call_failed(MonotonicTime now);

  [[nodiscard]] bool finished() const { return options_.until && position_ >= *options_.until; }
  void pause(MonotonicTime now, Duration wanted = {});
  void rest_until(MonotonicTime until);
  void tell_unavailable(const std::string& why);
  void end(ErrorCode code, const std::string& why);
  void fall_back(const std::string& why);
  [[nodiscard]] std::string place() const;

  const Shared& shared_;
  const LogReaderOptions options_;
  const std::unique_ptr<Listener> listener_;
  const std::shared_ptr<ReadCredit> credit_;

  // Where it is.
  Offset position_;
  int32_t last_epoch_ = -1;  // of the record before it
  bool ended_ = false;
  size_t growth_ = 16;  // of what came last, when it was unpacked; before that, of what may come
  MonotonicTime busy_at_;

  // Whom it asks. Without a leader it looks for one; without a dialogue it calls him.
  std::optional<HostPort> leader_;
  int32_t leader_epoch_ = -1;
  std::optional<KafkaTopicWatch::AnswerNumber> awaited_;
  std::optional<LeaderVerdict> doubt_;  // what answers say since,
  MonotonicTime doubt_since_;
  std::optional<KafkaDialogue> dialogue_;
  bool leader_knows_epochs_ = true;
  MonotonicTime paused_until_ = MonotonicTime::max();  // max: it is not

  // What went wrong in a row.
  int failed_calls_ = 0;
  int16_t last_error_ = 0;
  int same_errors_ = 0;
  std::optional<Offset> damaged_at_;
  int damaged_times_ = 0;
  bool told_unavailable_ = false;
};

}  // namespace millrace
