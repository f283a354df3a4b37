// FakeKafka: a cluster of Kafka brokers in the test's process, on ports of the system's choice. It has one topic and
// says by ApiVersions v3, Metadata v12 and Fetch v13 what real brokers say, unless a test has planned something else.
// Whoever is not Millrace itself finds his connection closed.
//
// One thread owns all of it; what a test calls runs there, between two turns. Brokers are numbered from 0, and 0 leads
// every partition at first, with epoch 0.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "adapters/file_descriptor.h"
#include "adapters/kafka_messages.h"
#include "adapters/kafka_wire.h"
#include "tests/fakes/fake_kafka_topic.h"

namespace millrace {

class FakeKafka {
 public:
  static constexpr int kForEver = 1 << 30;

  enum class Api : int16_t { kAccept = -1, kFetch = 1, kMetadata = 3, kVersions = 18 };

  // What is done instead of what is right, so many times.
  struct Fault {
    Api api = Api::kFetch;  // kAccept: the connection is closed at once
    std::optional<int> broker;
    std::optional<LogPartition> partition;
    Offset from{0};  // and of no question from an earlier one
    int times = 1;

    int16_t error = 0;  // of the whole; of Metadata: of the topic
    int16_t partition_error = 0;
    int32_t throttle_ms = 0;         // of Fetch: without records, as beyond a quota
    int32_t preferred_replica = -1;  // instead of records
    int flipped_batch = -1;          // which of those in an answer with records loses a bit of its last byte
    bool other_correlation = false;
    std::optional<std::string> frame;  // instead of the answer
    std::optional<size_t> bytes;       // so many of an answer with records, and no more; 0: of any answer
    bool close = false;                // and then the connection ends
  };

  explicit FakeKafka(int brokers = 1, int partitions = 1);
  ~FakeKafka();
  FakeKafka(const FakeKafka&) = delete;
  FakeKafka& operator=(const FakeKafka&) = delete;

  [[nodiscard]] std::string address(int broker) const;
  [[nodiscard]] std::string addresses() const;

  void change(const std::function<void(FakeKafkaTopic&)>& change) {
    run([&] { change(topic_); });
  }
  void lag(int broker, bool lags);           // its Metadata stay as they are now
  void advertise(const std::string& host) {  // in Metadata
    run([&] { host_ = host; });
  }
  void speak_fetch(int16_t most_version) {
    run([&] { fetch_version_ = most_version; });
  }

  void plan(const Fault& fault) {
    run([&] { faults_.push_back(fault); });
  }
  void forget_faults() {
    run([&] { faults_.clear(); });
  }
  bool wait_for_faults() {  // until all have been done
    return wait([this] { return faults_.empty(); });
  }
  void stop(int broker);    // who connects is refused
  void start(int broker);   // at the same port
  void deafen(int broker);  // who connects hears nothing, until start()

  // How often it was asked; of accepted connections how many came. nullopt: all of that.
  int count(std::optional<Api> api = {});
  bool wait_for_count(std::optional<Api> api, int count);
  bool wait_for_connections(int most);  // until no more are open
  FetchQuestion last_fetch();
  std::string problem();  // what no client may do; empty: there was nothing

 private:
  using Clock = std::chrono::steady_clock;

  struct View {  // what Metadata tell
    std::optional<KafkaTopicId> id;
    std::vector<FakeKafkaTopic::Leader> leaders;
  };
  struct Broker {
    FileDescriptor name;                // keeps the port, and does not listen
    FileDescriptor listener;            // invalid: stopped
    std::vector<FileDescriptor> crowd;  // keeps others out: it is deaf
    std::optional<View> lagging;
  };
  struct Pending {
    FetchQuestion question;
    int32_t correlation = 0;
    Clock::time_point until;
  };
  struct Connection {
    FileDescriptor socket;
    size_t broker = 0;
    std::string received;
    std::string to_send;
    std::optional<Pending> pending;
    Clock::time_point throttled_until;
    bool introduced = false;
    bool ends = false;    // when everything is sent
    bool silent = false;  // no answer comes any more
  };
  struct Waiter {
    std::function<bool()> holds;
    bool done = false;
  };

  // Runs `holds` on the thread after each turn until it is true. False: that has not come within half a minute.
  bool wait(std::function<bool()> holds);
  void run(const std::function<void()>& task);

  void serve();
  void sleep(bool at_once);
  bool ask_waiters();
  void accept_all(size_t broker);
  void receive(Connection& connection);
  bool handle(Connection& connection, std::string_view frame);
  void tell_versions(Connection& connection, int32_t correlation);
  void tell_metadata(Connection& connection, int32_t correlation, WireReader& request);
  void write_brokers(WireWriter& answer) const;
  void begin_fetch(Connection& connection, int32_t correlation, WireReader& request);
  void try_fetch(Connection& connection);
  [[nodiscard]] std::optional<Fault> take_fault(Api api, size_t broker, const FetchQuestion& question = {},
                                                bool has_records = false);
  static void send(Connection& connection, std::string frame, const std::optional<Fault>& fault);
  static void flush(Connection& connection);
  [[nodiscard]] int counted(std::optional<Api> api) const;
  Broker& at(int broker) { return brokers_.at(static_cast<size_t>(broker)); }

  std::vector<std::string> addresses_;
  const FileDescriptor waker_;
  std::atomic<bool> stopping_ = false;
  std::mutex mutex_;
  std::condition_variable answered_;
  std::list<std::shared_ptr<Waiter>> waiters_;  // guarded by mutex_

  // The thread's.
  FakeKafkaTopic topic_;
  std::vector<Broker> brokers_;
  std::list<Connection> connections_;
  std::list<Fault> faults_;
  std::map<Api, int> counts_;
  std::string host_ = "127.0.0.1";
  int16_t fetch_version_ = 13;
  FetchQuestion last_fetch_;
  std::string problem_;

  std::thread thread_;
};

}  // namespace millrace
