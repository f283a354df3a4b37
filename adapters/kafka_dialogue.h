// KafkaDialogue: one broker that is called and then asked one question at a time. It looks the broker's address up,
// connects, asks what the broker speaks, and gives up on whoever stays silent; what a question is and what follows from
// an answer is its owner's. Waits nowhere: serve() goes on as far as it can. Belongs to one thread.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "adapters/fetch_answer.h"
#include "adapters/host_lookup.h"
#include "adapters/kafka_connection.h"
#include "adapters/kafka_messages.h"
#include "adapters/kafka_reader_settings.h"
#include "common/base/error.h"
#include "common/base/time.h"

namespace millrace {

class KafkaDialogue {
 public:
  enum class Event {
    kNone,
    kReady,     // the broker has said what it speaks: it may be asked
    kAnswered,  // it may be asked again
    kFailed,    // error() says why; of no use any more
  };

  // `settings` outlives it. When an address is found its owner has to be woken by `lookups`.
  KafkaDialogue(const KafkaReaderSettings& settings, const HostPort& peer, HostLookups& lookups, MonotonicTime now);

  [[nodiscard]] const HostPort& peer() const { return peer_; }
  // Once ready: that it does not speak what a direct reader needs.
  [[nodiscard]] std::optional<std::string> unspoken() const;
  [[nodiscard]] bool may_be_asked() const { return stage_ == Stage::kIdle; }
  [[nodiscard]] const Error& error() const { return error_; }
  [[nodiscard]] bool failed_idle() const { return failed_idle_; }  // while nothing was asked

  // Where it may be asked. A request that cannot be sent shows as kFailed of the next serve().
  void ask_who_leads(MonotonicTime now);
  void fetch(const FetchQuestion& question, std::shared_ptr<FetchBlocks> blocks, std::shared_ptr<ReadCredit> credit,
             MonotonicTime now);

  // `events`: those of poll(2) that the descriptor has.
  Event serve(MonotonicTime now, short events);

  // After kAnswered, of the one that was asked. nullopt: malformed, so that the connection is of no use any more.
  [[nodiscard]] std::optional<KafkaMetadata> who_leads() const;
  std::unique_ptr<FetchAnswer> take_fetched() { return std::move(fetch_); }

  [[nodiscard]] int descriptor() const { return connection_ ? connection_->descriptor() : -1; }
  [[nodiscard]] short wanted_events() const;
  [[nodiscard]] MonotonicTime serve_at() const { return deadline_; }  // though nothing is there

 private:
  enum class Stage { kLookup, kConnecting, kGreeting, kIdle, kAsked, kFailed };

  Event go_on(MonotonicTime now, short events);
  Event look_up(MonotonicTime now);
  Event connect_to_next(MonotonicTime now);
  Event greet(MonotonicTime now);
  Event hear_greeting();
  Event receive(MonotonicTime now);
  void send(const std::string& frame, Stage next, MonotonicTime now);
  [[nodiscard]] std::span<char> room();
  bool arrived(size_t bytes);  // whether it is whole, or broken, which fails
  void rest();
  Event failed(Error error);
  Event failed(const std::string& why);

  const KafkaReaderSettings& settings_;
  const HostPort peer_;

  Stage stage_ = Stage::kLookup;
  MonotonicTime deadline_;
  std::shared_ptr<const HostLookup> lookup_;
  std::vector<SocketAddress> addresses_;  // not tried yet, the next one at the end
  std::optional<KafkaConnection> connection_;
  int32_t correlation_ = 0;
  bool greeted_ = false;
  KafkaVersions versions_;
  std::optional<FrameReceiver> frame_;  // the answer to anything but a Fetch,
  std::unique_ptr<FetchAnswer> fetch_;  // or to that
  Error error_;
  bool failed_idle_ = false;
};

}  // namespace millrace
