// What the tests of the sinks share: a server with two processes' sinks, and short ways to call them.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "adapters/redis_sink.h"
#include "tests/conformance/redis_server.h"
#include "tests/conformance/test_loop.h"
#include "tests/fakes/fake_sink.h"

namespace millrace {

using Hash = std::map<std::string, std::string>;
using Rank = std::map<std::string, double>;

// Two partitions: of keys that begin with a to m, and the others.
inline StatePartition partition_of(std::string_view key) {
  return StatePartition(!key.empty() && key[0] >= 'a' && key[0] <= 'm' ? 0 : 1);
}

inline std::string name_of(PublishOutcome outcome) {
  switch (outcome) {
    case PublishOutcome::kDone: return "done";
    case PublishOutcome::kFenced: return "fenced";
    case PublishOutcome::kDataLost: return "data lost";
  }
  return "?";
}

// What the outside world is to a sink.
class SinkServer {
 public:
  virtual ~SinkServer() = default;
  virtual std::unique_ptr<Sink> connect() = 0;                                      // another process' sink
  virtual Hash values_of(const std::string& table) = 0;                             // of job "words", as all below
  virtual Rank rank_of(const std::string& table, const std::string& its_rank) = 0;  // where there is one
  // Of a table of strings what stands beside the hash; of an index the members of a key, and which keys have any.
  virtual Hash strings_of(const std::string& table) = 0;
  virtual Rank members_of(const std::string& table, const std::string& key) = 0;
  virtual std::set<std::string> listed_keys(const std::string& table) = 0;
  Hash values() { return values_of("counts"); }
  Rank rank() { return rank_of("counts", "top"); }
  virtual Hash status() = 0;
  virtual bool holds_anything() = 0;
  virtual void lose_all_data() = 0;
  virtual void lose_values(const std::string& table) = 0;  // somebody deletes this key only
  virtual void lose_fence() = 0;
  virtual void set_away(bool away) = 0;  // the data are lost with it or not
  virtual void put_foreign_value() = 0;
  virtual TestLoop& loop() = 0;
};

class FakeSinkWorld : public SinkServer {
 public:
  FakeSinkWorld() {
    server_->timing.latency = [] { return std::chrono::milliseconds(1); };
  }
  std::unique_ptr<Sink> connect() override { return std::make_unique<FakeSink>(loop_, server_); }
  Hash values_of(const std::string& table) override {
    return server_->find("words") ? server_->find("words")->table(table).values : Hash();
  }
  Rank rank_of(const std::string& table, const std::string&) override {
    return server_->find("words") ? server_->find("words")->table(table).rank : Rank();
  }
  Hash strings_of(const std::string& table) override { return values_of(table); }
  Rank members_of(const std::string& table, const std::string& key) override {
    const auto lists = lists_of(table);
    return lists.contains(key) ? lists.at(key) : Rank();
  }
  std::set<std::string> listed_keys(const std::string& table) override {
    std::set<std::string> keys;
    for (const auto& [key, members] : lists_of(table)) {
      if (!members.empty()) keys.insert(key);
    }
    return keys;
  }
  Hash status() override { return server_->find("words") ? server_->find("words")->status : Hash(); }
  bool holds_anything() override { return server_->find("words") != nullptr; }
  void lose_all_data() override { server_->lose_all_data(); }
  void lose_values(const std::string& table) override { server_->lose_values("words", table); }
  void lose_fence() override { server_->lose_fence("words"); }
  void set_away(bool away) override {
    server_->failure.reset();
    if (away) server_->failure = Error{ErrorCode::kUnavailable, "the sink is away"};
  }
  void put_foreign_value() override { server_->put_foreign("words", "foreign", "1"); }
  TestLoop& loop() override { return loop_; }

 private:
  std::map<std::string, Rank> lists_of(const std::string& table) {
    return server_->find("words") ? server_->find("words")->table(table).members : std::map<std::string, Rank>();
  }

  TestLoop loop_{TestLoop::Time::kVirtual};
  std::shared_ptr<FakeSinkServer> server_ =
      std::make_shared<FakeSinkServer>([](const std::string& key) { return partition_of(key); });
};

inline RedisSinkOptions redis_options() {
  RedisSinkOptions options;
  options.partition_of = partition_of;
  options.chunk_entries = 100;
  options.timeouts.reconnect_first = std::chrono::milliseconds(1);
  options.timeouts.reconnect_most = std::chrono::milliseconds(5);
  return options;
}

class RedisWorld : public SinkServer {
 public:
  std::unique_ptr<Sink> connect() override { return RedisSink::open(loop_, redis.uri(), redis_options()).value(); }
  Hash values_of(const std::string& table) override { return redis.hash("{words}:" + table); }
  Rank rank_of(const std::string&, const std::string& its_rank) override {
    return redis.sorted_set("{words}:" + its_rank);
  }
  Hash strings_of(const std::string& table) override {
    Hash strings;
    for (const std::string& key : listed_keys(table))
      strings[key] = redis.command({"GET", "{words}:" + table + ":" + key}).front();
    return strings;
  }
  Rank members_of(const std::string& table, const std::string& key) override {
    return redis.sorted_set("{words}:" + table + ":" + key);
  }
  std::set<std::string> listed_keys(const std::string& table) override {
    const std::string prefix = "{words}:" + table + ":";
    std::set<std::string> keys;
    for (const std::string& key : redis.keys()) {
      if (key.starts_with(prefix)) keys.insert(key.substr(prefix.size()));
    }
    return keys;
  }
  Hash status() override { return redis.hash("{words}:status"); }
  bool holds_anything() override { return !redis.keys().empty(); }
  void lose_all_data() override {
    redis.kill();
    redis.start();
  }
  void lose_values(const std::string& table) override { redis.command({"DEL", "{words}:" + table}); }
  void lose_fence() override { redis.command({"DEL", "{words}:fence"}); }
  void set_away(bool away) override {
    if (away) {
      redis.kill();
    } else {
      redis.start();
    }
  }
  void put_foreign_value() override { redis.command({"HSET", "{words}:counts", "foreign", "1"}); }
  TestLoop& loop() override { return loop_; }

  RedisServer redis;

 private:
  TestLoop loop_{TestLoop::Time::kReal};
};

inline SinkIdentity words_job(uint64_t job = 7, int incarnation = 1) {
  return {.job_name = "words",
          .job = JobId(job),
          .incarnation = Incarnation(incarnation),
          .layout = {{.name = "counts", .rank = "top", .rank_size = 10}}};
}

// With a second table, whose rank holds every key, and a third without one.
inline SinkIdentity three_tables(uint64_t job = 7, int incarnation = 1) {
  SinkIdentity identity = words_job(job, incarnation);
  identity.layout.push_back({.name = "pairs", .rank = "best", .rank_all = true, .rank_size = 10});
  identity.layout.push_back({.name = "plain", .rank = {}});
  return identity;
}

// The same with what changed in a table.
inline Publication with(Publication made, uint16_t table, const Hash& values,
                        const std::vector<std::string>& removed = {}) {
  for (const auto& [key, text] : values) {
    made.entries.push_back({.key = key, .text = text, .score = std::stod(text), .table = table});
  }
  for (const std::string& key : removed) made.entries.push_back({.key = key, .removed = true, .table = table});
  return made;
}

inline Publication publication(int partition, int generation, int since, int batch, const Hash& values,
                               const std::vector<std::string>& removed = {}) {
  return with({.partition = StatePartition(partition),
               .generation = Generation(generation),
               .since = BatchId(since),
               .batch = BatchId(batch)},
              0, values, removed);
}

inline Publication full(Publication made) {
  made.full = true;
  return made;
}

inline RoundEnd of_partitions(int state_partitions, RoundEnd made) {
  made.state_partitions = state_partitions;
  return made;
}

inline RoundEnd round_end(int epoch, int generation, int batch, const std::vector<std::pair<std::string, double>>& rank,
                          const Hash& status = {}) {
  RoundEnd made{.generation = Generation(generation), .epoch = Epoch(epoch), .batch = BatchId(batch)};
  std::vector<SinkEntry>& entries = made.ranks[0];
  for (const auto& [key, score] : rank) entries.push_back({.key = key, .text = std::to_string(score), .score = score});
  made.status = status;
  made.status["batch"] = std::to_string(batch);
  return made;
}

// The calls of a sink, each waited for; outcomes as text, errors as "CODE: message".
class SinkCalls {
 public:
  explicit SinkCalls(TestLoop& loop) : loop_(loop) {}

  Status claim(Sink& sink, const SinkIdentity& identity, bool take_over = false) {
    return wait_for<void>(loop_, [&](auto done) { sink.claim(identity, take_over, std::move(done)); });
  }
  Status purge(Sink& sink, const SinkIdentity& identity) {
    return wait_for<void>(loop_, [&](auto done) { sink.purge(identity, std::move(done)); });
  }
  // As the master: a sink that came back may need some tries.
  Status claim_until_taken(Sink& sink, const SinkIdentity& identity) {
    Status claimed;
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    do {
      claimed = claim(sink, identity);
    } while (!claimed && claimed.error().code == ErrorCode::kUnavailable &&
             std::chrono::steady_clock::now() < deadline);
    return claimed;
  }
  std::string publish(Sink& sink, const SinkIdentity& identity, const Publication& what) {
    return text_of(wait_for<PublishOutcome>(loop_, [&](auto done) { sink.publish(identity, what, std::move(done)); }));
  }
  std::string end_round(Sink& sink, const SinkIdentity& identity, const RoundEnd& end) {
    return text_of(wait_for<PublishOutcome>(loop_, [&](auto done) { sink.end_round(identity, end, std::move(done)); }));
  }
  // Repeats a publication while the sink is away, as its owner does.
  std::string publish_until_taken(Sink& sink, const SinkIdentity& identity, const Publication& what) {
    std::string outcome = "unavailable";
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (outcome.starts_with("unavailable") && std::chrono::steady_clock::now() < deadline) {
      outcome = publish(sink, identity, what);
    }
    return outcome;
  }

 private:
  static std::string text_of(const Result<PublishOutcome>& outcome) {
    if (outcome) return name_of(*outcome);
    return std::string(to_string(outcome.error().code)) + ": " + outcome.error().message;
  }

  TestLoop& loop_;
};

// On the fake, or on a real Redis.
class SinkTest : public testing::TestWithParam<bool>, public SinkCalls {
 protected:
  SinkTest() : SinkTest(GetParam() ? std::unique_ptr<SinkServer>(new RedisWorld) : std::make_unique<FakeSinkWorld>()) {}
  explicit SinkTest(std::unique_ptr<SinkServer> server)
      : SinkCalls(server->loop()), server_(std::move(server)), sink_(server_->connect()), other_(server_->connect()) {}

  void claim_words() {
    const Status claimed = claim(*sink_, words_job());
    ASSERT_TRUE(claimed) << claimed.error();
  }

  std::unique_ptr<SinkServer> server_;
  std::unique_ptr<Sink> sink_;
  std::unique_ptr<Sink> other_;  // of another process
};

}  // namespace millrace
