// IngestWriter and a master's API server, between them real connections that break.
#include "adapters/ingest_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <tuple>
#include <vector>

#include "adapters/api_server.h"
#include "common/runtime/event_loop.h"
#include "tests/fakes/fake_api_service.h"

namespace millrace {
namespace {

using testing::HasSubstr;
using Written = Result<std::vector<WrittenRange>>;

constexpr int32_t kPartitions = 4;

// A log in memory that recognises repeated appends, and can be made to wait, and to lose its answers.
class MemoryIngest final : public IngestStore {
 public:
  Result<int32_t> open_log(const std::string&, int32_t) override { return kPartitions; }
  Result<OffsetRange> append(const std::string&, LogPartition partition, NewRecords records,
                             AppendIdentity identity) override {
    std::unique_lock lock(mutex_);
    ++calls_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return !held_; });
    EXPECT_GT(identity.producer_id, 0);
    auto [known, is_new] = known_.try_emplace({partition, identity.producer_id, identity.sequence});
    if (is_new) {
      std::vector<std::string>& log = logs_[partition];
      known->second.from = Offset(std::ssize(log));
      log.insert(log.end(), records.values.begin(), records.values.end());
      known->second.to = Offset(std::ssize(log));
      keys_.insert(keys_.end(), records.keys.begin(), records.keys.end());
    }
    if (lose_every_ > 0 && ++answers_ % lose_every_ == 0) return fail(ErrorCode::kUnavailable, "the answer is lost");
    return known->second;
  }
  void hold(bool held) {
    const std::scoped_lock lock(mutex_);
    held_ = held;
    changed_.notify_all();
  }
  void lose_every(int answers) {
    const std::scoped_lock lock(mutex_);
    lose_every_ = answers;
  }
  void wait_for_calls(int calls) {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, std::chrono::seconds(60), [&] { return calls_ >= calls; }));
  }
  int calls() {
    const std::scoped_lock lock(mutex_);
    return calls_;
  }
  // All values, sorted.
  std::vector<std::string> stored() {
    const std::scoped_lock lock(mutex_);
    std::vector<std::string> all;
    for (const auto& [partition, log] : logs_) all.insert(all.end(), log.begin(), log.end());
    std::ranges::sort(all);
    return all;
  }
  std::string at(LogPartition partition, Offset offset) {
    const std::scoped_lock lock(mutex_);
    return logs_[partition].at(static_cast<size_t>(offset.value()));
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool held_ = false;
  int lose_every_ = 0;  // 0: none
  int calls_ = 0;
  int answers_ = 0;
  std::map<std::tuple<LogPartition, int64_t, int64_t>, OffsetRange> known_;
  std::map<LogPartition, std::vector<std::string>> logs_;
  std::vector<std::string> keys_;
};

class IngestWriterTest : public testing::Test {
 protected:
  IngestWriterTest() {
    loop_.start();
    serve("127.0.0.1:0");
    master_ = {"127.0.0.1", server_->port()};
  }
  ~IngestWriterTest() override {
    store_.hold(false);
    server_ = nullptr;
    loop_.stop();
    loop_.join();
  }
  void serve(const std::string& address) {
    auto server = ApiServer::start({.address = address}, loop_, service_, &store_);
    ASSERT_TRUE(server) << server.error();
    server_ = std::move(*server);
  }
  void restart_master() {
    server_ = nullptr;
    serve(master_.text());
  }
  // One that has reached the master.
  std::unique_ptr<IngestWriter> open(IngestWriterOptions options = {}) {
    options.log = "lines";
    options.master = master_;
    auto writer = std::make_unique<IngestWriter>(options);
    while (!writer->health().problem.empty()) std::this_thread::yield();
    return writer;
  }
  static std::future<Written> write(RecordWriter& writer, std::vector<KeyedRecord> records, std::string key = "") {
    std::promise<Written> promise;
    std::future<Written> answer = promise.get_future();
    writer.write({std::move(records), std::move(key)},
                 [promise = std::move(promise)](Written written) mutable { promise.set_value(std::move(written)); });
    return answer;
  }
  void expect_at(const Written& written, const std::string& value) {
    ASSERT_TRUE(written) << written.error();
    ASSERT_EQ(written->size(), 1);
    EXPECT_EQ(store_.at(written->front().partition, written->front().first), value);
  }

  EventLoop loop_{"ingest-writer-test"};
  FakeApiService service_{loop_};
  MemoryIngest store_;
  std::unique_ptr<ApiServer> server_;
  HostPort master_;
};

TEST_F(IngestWriterTest, WhatComesWhileAnAppendIsUnderWayGoesWithTheNextOne) {
  const auto writer = open();
  store_.hold(true);
  std::vector<std::future<Written>> answers;
  answers.push_back(write(*writer, {{"ann", "0"}}));
  store_.wait_for_calls(1);
  for (int i = 1; i < 100; ++i) answers.push_back(write(*writer, {{"ann", std::to_string(i)}}));
  store_.hold(false);
  int64_t next = 0;
  for (auto& answer : answers) {
    const Written written = answer.get();
    expect_at(written, std::to_string(next));
    EXPECT_EQ(written->front().first, Offset(next++));
  }
  EXPECT_EQ(store_.calls(), 2);
}

TEST_F(IngestWriterTest, RecordsAreStoredOnceThoughAnswersAreLostAndTheMasterRestarts) {
  const auto writer = open();
  store_.lose_every(3);
  std::vector<std::future<Written>> answers;
  std::vector<std::string> expected;
  for (int i = 0; i < 3'000; ++i) {
    expected.push_back(std::to_string(i));
    std::optional<std::string> key;
    if (i % 2 == 0) key = "user " + std::to_string(i % 7);
    answers.push_back(write(*writer, {{key, std::to_string(i)}}));
    if (i % 1'000 == 500) restart_master();
  }
  for (int i = 0; i < 3'000; ++i) expect_at(answers[i].get(), std::to_string(i));
  std::ranges::sort(expected);
  EXPECT_EQ(store_.stored(), expected);
}

TEST_F(IngestWriterTest, ARequestWithAKeyIsStoredOnceByWhicheverWriter) {
  const auto request = [] {
    std::vector<KeyedRecord> records;
    for (int i = 0; i < 50; ++i) {
      std::optional<std::string> key;
      if (i % 3 != 0) key = std::to_string(i);
      records.push_back({key, "r" + std::to_string(i)});
    }
    return records;
  };
  Written first;
  {
    const auto writer = open();
    store_.lose_every(2);
    first = write(*writer, request(), "once").get();
    store_.lose_every(0);
    ASSERT_TRUE(first) << first.error();
  }
  const auto other = open();
  EXPECT_TRUE(write(*other, {{{}, "between"}}).get());
  const Written second = write(*other, request(), "once").get();
  ASSERT_TRUE(second) << second.error();
  EXPECT_EQ(store_.stored().size(), 51);
  ASSERT_EQ(first->size(), second->size());
  for (size_t i = 0; i < first->size(); ++i) {
    EXPECT_EQ((*first)[i].partition, (*second)[i].partition);
    EXPECT_EQ((*first)[i].first, (*second)[i].first);
    EXPECT_EQ((*first)[i].count, (*second)[i].count);
  }
  EXPECT_TRUE(write(*other, request(), "another").get());
  EXPECT_EQ(store_.stored().size(), 101);
}

TEST_F(IngestWriterTest, MoreThanItsBoundIsRefusedAtOnce) {
  const auto writer = open({.most_bytes = 10'000});
  store_.hold(true);
  auto taken = write(*writer, {{"ann", std::string(6'000, 'x')}});
  store_.wait_for_calls(1);
  const Written refused = write(*writer, {{"ann", std::string(6'000, 'y')}}).get();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kUnavailable);
  EXPECT_GT(writer->health().oldest_wait, Duration::zero());
  store_.hold(false);
  EXPECT_TRUE(taken.get());
  EXPECT_TRUE(write(*writer, {{"ann", std::string(6'000, 'y')}}).get());
  EXPECT_EQ(writer->health().oldest_wait, Duration::zero());
}

TEST_F(IngestWriterTest, WhatIsNotKnownToBeStoredIsSaidSo) {
  const auto writer = open({.call_timeout = std::chrono::milliseconds(1)});
  store_.lose_every(1);
  const Written lost = write(*writer, {{"ann", "a"}}).get();
  ASSERT_FALSE(lost);
  EXPECT_EQ(lost.error().code, ErrorCode::kTimeout);
  EXPECT_THAT(lost.error().message, HasSubstr("log://lines: the answer is lost; the records may be stored or not"));
  EXPECT_THAT(writer->health().problem, HasSubstr("the answer is lost"));
  store_.lose_every(0);
  EXPECT_TRUE(write(*writer, {{"ann", "b"}}).get());
  EXPECT_EQ(writer->health().problem, "");
}

TEST_F(IngestWriterTest, WhatWaitsTooLongIsNotStored) {
  const auto writer = open({.queue_timeout = std::chrono::milliseconds(1)});
  store_.hold(true);
  auto taken = write(*writer, {{"ann", "a"}});
  store_.wait_for_calls(1);
  auto late = write(*writer, {{"ann", "b"}});
  while (writer->health().oldest_wait < std::chrono::milliseconds(20)) std::this_thread::yield();
  store_.hold(false);
  EXPECT_TRUE(taken.get());
  const Written refused = late.get();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kUnavailable);
  EXPECT_THAT(store_.stored(), testing::ElementsAre("a"));
}

TEST_F(IngestWriterTest, AMasterThatIsAwayIsToldAndWaitedFor) {
  server_ = nullptr;
  IngestWriter writer({.log = "lines", .master = master_});
  const Written refused = write(writer, {{"ann", "a"}}).get();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kUnavailable);
  EXPECT_THAT(refused.error().message, HasSubstr("the master at " + master_.text()));
  serve(master_.text());
  while (!writer.health().problem.empty()) std::this_thread::yield();
  EXPECT_TRUE(write(writer, {{"ann", "a"}}).get());
}

TEST_F(IngestWriterTest, AllAreAnsweredWhenItEnds) {
  auto writer = open();
  store_.lose_every(1);
  std::vector<std::future<Written>> answers;
  for (int i = 0; i < 100; ++i) answers.push_back(write(*writer, {{std::to_string(i), "a"}}));
  writer = nullptr;
  for (auto& answer : answers) EXPECT_FALSE(answer.get());
}

TEST(WritesUnderWayTest, RangesThatTouchBecomeOne) {
  WritesUnderWay writes(1'000);
  Written answer;
  auto* const write = writes.begin(10, 4, [&](Written written) { answer = std::move(written); });
  writes.stored(write, {LogPartition(1), Offset(7), 1});
  writes.stored(write, {LogPartition(0), Offset(5), 2});
  writes.stored(write, {LogPartition(1), Offset(5), 2});
  writes.stored(write, {LogPartition(1), Offset(9), 1});
  ASSERT_TRUE(answer);
  std::string text;
  for (const WrittenRange& range : *answer) {
    text += std::to_string(range.partition.value()) + ":" + std::to_string(range.first.value()) + "+" +
            std::to_string(range.count) + " ";
  }
  EXPECT_EQ(text, "0:5+2 1:5+3 1:9+1 ");
}

TEST(WritesUnderWayTest, WhatIsStoredOfARequestThatFailedIsSaid) {
  WritesUnderWay writes(1'000);
  Written answer;
  const auto begin = [&] { return writes.begin(10, 2, [&](Written written) { answer = std::move(written); }); };
  auto* write = begin();
  writes.failed(write, {ErrorCode::kUnavailable, "away"});
  writes.stored(write, {LogPartition(0), Offset(5), 3});
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, ErrorCode::kTimeout);
  EXPECT_EQ(answer.error().message, "away; of the other records of this request 3 are stored");
  write = begin();
  writes.failed(write, {ErrorCode::kUnavailable, "away"});
  writes.failed(write, {ErrorCode::kInvalid, "too large"});
  EXPECT_EQ(answer.error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(answer.error().message, "away");
}

}  // namespace
}  // namespace millrace
