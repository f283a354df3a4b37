// FakeSink: a Sink over a FakeSinkServer, which outlives the processes and is seen by all of them. The server keeps the
// fence of common/seams/sink.h and the history of everything that was written, in order.
//
// A publication reaches the server in chunks, each after the server's latency, so that a crash (the sink is destroyed)
// or a fault may fall between two of them. The calls of one sink are carried out in order.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/seams/sink.h"
#include "common/seams/task_loop.h"
#include "tests/fakes/fake_timing.h"

namespace millrace {

class FakeSinkServer {
 public:
  struct Fence {
    Incarnation incarnation;
    Generation generation;
    BatchId open;
    BatchId done;
    uint64_t attempt = 0;
    size_t next_chunk = 0;
  };
  struct Round {
    Incarnation incarnation;
    Epoch epoch;
    Generation generation;
    BatchId batch;
    auto operator<=>(const Round&) const = default;
  };
  struct Table {
    std::map<std::string, std::string> values;
    std::map<std::string, double> rank;
    std::map<std::string, std::map<std::string, double>> members;  // of an index, by key
    size_t size = 0;                                               // of `values` after the last write
  };
  // Everything under {NAME}:.
  struct Keys {
    JobId job;
    Incarnation incarnation;
    std::map<StatePartition, Fence> fences;
    std::optional<Round> round;
    std::map<std::string, Table> tables;
    std::map<std::string, std::string> status;

    // Empty: there is none.
    [[nodiscard]] const Table& table(const std::string& name = "counts") const {
      static const Table kNone;
      const auto found = tables.find(name);
      return found == tables.end() ? kNone : found->second;
    }
  };
  enum class What { kValue, kRemoved, kDone, kRound, kClaim, kPurge, kDataLoss };
  struct Event {
    What what;
    std::string job_name;  // empty for kDataLoss
    JobId job;
    Incarnation incarnation;
    StatePartition partition;
    Generation generation;
    BatchId batch;
    std::string key;   // kValue, kRemoved
    std::string text;  // kValue; of a member: its count
    std::string table;
    std::optional<std::string> member;  // of the key, which is one of an index; of a removed key all members go
  };

  // One piece of a publication, as it goes over the wire.
  struct Chunk {
    uint64_t attempt = 0;
    size_t number = 0;
    size_t begin = 0;  // of Publication::entries
    size_t end = 0;
    bool last = false;
  };

  // Which state partition a key belongs to; for full publications.
  explicit FakeSinkServer(std::function<StatePartition(const std::string& key)> partition_of)
      : partition_of_(std::move(partition_of)) {}

  // Faults.
  FakeTiming timing;                    // of one request
  std::optional<Error> failure;         // while set, every request fails with it and has no effect
  std::function<bool()> reply_is_lost;  // the request is carried out, its sender hears kUnavailable
  size_t chunk_entries = 4;
  bool fences_everybody = false;               // as one in which a younger owner's fence comes back again and again
  bool fenced = true;                          // false: a sink that lets older owners write
  std::function<void(const Event&)> on_event;  // told of each event of the history as it happens
  void lose_all_data();                        // a restart without persistence

  // What a reader sees.
  [[nodiscard]] const Keys* find(const std::string& job_name) const;
  [[nodiscard]] const std::vector<Event>& history() const { return history_; }
  [[nodiscard]] uint64_t refused_by_fence() const { return refused_by_fence_; }

  // What a test does by hand: a foreign value under a name that no job has claimed.
  void put_foreign(const std::string& job_name, const std::string& key, const std::string& text);
  // What happens to single keys of a job: deleted by hand, or evicted.
  void lose_values(const std::string& job_name, const std::string& table = "counts");
  void lose_fence(const std::string& job_name);

  // Requests of FakeSink.
  Status claim(const SinkIdentity& identity, bool take_over);
  Status purge(const SinkIdentity& identity);
  Result<PublishOutcome> apply(const SinkIdentity& identity, const Publication& publication, const Chunk& chunk);
  Result<PublishOutcome> end_round(const SinkIdentity& identity, const RoundEnd& end);
  uint64_t next_attempt() { return ++attempts_; }

 private:
  // Of keys that are the writer's: whether a part of them is gone.
  static bool is_whole(const Keys& keys, const SinkLayout& layout);
  std::optional<Result<PublishOutcome>> refuse_identity(const SinkIdentity& identity) const;
  std::optional<Result<PublishOutcome>> refuse(const SinkIdentity& identity, const Publication& publication,
                                               const Chunk& chunk) const;
  void record(Event event);
  void remove_leftovers(const Publication& publication, size_t number, Keys& keys, const SinkIdentity& identity);

  const std::function<StatePartition(const std::string& key)> partition_of_;
  std::map<std::string, Keys> jobs_;
  std::vector<Event> history_;
  uint64_t attempts_ = 0;
  uint64_t refused_by_fence_ = 0;
};

class FakeSink : public Sink {
 public:
  FakeSink(TaskLoop& loop, std::shared_ptr<FakeSinkServer> server) : loop_(loop), server_(std::move(server)) {}
  ~FakeSink() override;
  FakeSink(const FakeSink&) = delete;
  FakeSink& operator=(const FakeSink&) = delete;

  void claim(SinkIdentity identity, bool take_over, std::move_only_function<void(Status)> done) override;
  void purge(SinkIdentity identity, std::move_only_function<void(Status)> done) override;
  void publish(SinkIdentity identity, Publication publication,
               std::move_only_function<void(Result<PublishOutcome>)> done) override;
  void end_round(SinkIdentity identity, RoundEnd end,
                 std::move_only_function<void(Result<PublishOutcome>)> done) override;

 private:
  // Sends one request to the server; an answer ends the call, none asks for another request.
  using Call = std::move_only_function<std::optional<TaskLoop::Task>()>;

  template <typename T>
  [[nodiscard]] Result<T> lost_or(Result<T> answer) const;
  void enqueue(Call call);
  void start_request();

  TaskLoop& loop_;  // outlives this
  const std::shared_ptr<FakeSinkServer> server_;
  std::deque<Call> waiting_;
  TaskLoop::TimerId timer_ = 0;
};

}  // namespace millrace
