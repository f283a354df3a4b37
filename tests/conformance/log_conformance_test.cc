// The Log suite on the fake, on the embedded log and on the log in memory, and what only the last one does.
#include <atomic>
#include <filesystem>
#include <thread>

#include "adapters/embedded_log.h"
#include "adapters/embedded_log_store.h"
#include "adapters/memory_log.h"
#include "adapters/system_clock.h"
#include "adapters/system_random.h"
#include "tests/conformance/log_conformance.h"
#include "tests/fakes/fake_log.h"

namespace millrace {
namespace {

class FakeLogBed {
 public:
  std::unique_ptr<Log> open(TaskLoop& loop) { return std::make_unique<FakeLog>(topic_, loop); }
  std::unique_ptr<Log> open_unknown(TaskLoop& loop) { return std::make_unique<FakeLog>(absent_, loop); }
  void append(EventLoop& loop, LogPartition partition, const std::vector<std::string>& values) {
    loop.run_and_wait([&] {
      for (const std::string& value : values) topic_.append(partition, {time_ms_, std::nullopt, value});
      time_ms_ += 10;
    });
  }
  void drop_oldest(EventLoop& loop, LogPartition partition, Offset begin) {
    loop.run_and_wait([&] { topic_.retain_from(partition, begin); });
  }

 private:
  int64_t time_ms_ = 1000;
  FakeTopic topic_{2, 1};
  FakeTopic absent_{0, 1};
};

class EmbeddedLogBed {
 public:
  EmbeddedLogBed() {
    char name[] = "/tmp/millrace-log-XXXXXX";
    root_ = mkdtemp(name);
    open_store({});
    EXPECT_EQ(store_->open_log("lines", 2).value(), 2);
  }
  ~EmbeddedLogBed() {
    store_ = nullptr;
    std::filesystem::remove_all(root_);
  }
  std::unique_ptr<Log> open(TaskLoop& loop) { return std::make_unique<EmbeddedLog>(root_, "lines", loop); }
  std::unique_ptr<Log> open_unknown(TaskLoop& loop) { return std::make_unique<EmbeddedLog>(root_, "other", loop); }
  void append(EventLoop&, LogPartition partition, const std::vector<std::string>& values) {
    const auto appended = store_->append("lines", partition, {values}, {});
    EXPECT_TRUE(appended) << appended.error();
  }
  void drop_oldest(EventLoop& loop, LogPartition partition, Offset begin) {
    store_ = nullptr;
    open_store({.segment_bytes = 1, .retention_bytes = 1});
    append(loop, partition, {"the segments before this one go"});
    append(loop, partition, {"and so does this one"});
    EXPECT_GE(begin, Offset(0));
  }

 private:
  void open_store(const EmbeddedLogOptions& options) {
    auto opened = EmbeddedLogStore::open(root_, options, clock_, random_);
    ASSERT_TRUE(opened) << opened.error();
    store_ = std::move(*opened);
  }

  std::filesystem::path root_;
  SystemClock clock_;
  SystemRandom random_;
  std::unique_ptr<EmbeddedLogStore> store_;
};

class MemoryLogBed {
 public:
  std::unique_ptr<Log> open(TaskLoop& loop) { return std::make_unique<MemoryLog>(topic_, loop); }
  std::unique_ptr<Log> open_unknown(TaskLoop& loop) {
    return std::make_unique<MemoryLog>(std::make_shared<MemoryTopic>(0, 0), loop);
  }
  void append(EventLoop&, LogPartition partition, const std::vector<std::string>& values) {
    EXPECT_TRUE(topic_->append(partition, std::vector<std::string_view>(values.begin(), values.end()), time_ms_ += 10));
  }
  void drop_oldest(EventLoop&, LogPartition partition, Offset begin) { topic_->forget_below(partition, begin); }

 private:
  int64_t time_ms_ = 1000;
  std::shared_ptr<MemoryTopic> topic_ = std::make_shared<MemoryTopic>(2, 64 << 20);
};

using Beds = testing::Types<FakeLogBed, EmbeddedLogBed, MemoryLogBed>;
INSTANTIATE_TYPED_TEST_SUITE_P(All, LogConformance, Beds);

constexpr LogPartition kPartition{0};

bool append(MemoryTopic& topic, const std::string& value) {
  return topic.append(kPartition, std::vector<std::string_view>{value}, 0);
}

TEST(MemoryTopicTest, AppendsWaitWhileItIsFullUntilEnoughIsForgotten) {
  MemoryTopic topic(1, 3'000);
  constexpr int64_t kAppends = 200;
  std::thread appender([&] {
    for (int64_t i = 0; i < kAppends; ++i) EXPECT_TRUE(append(topic, std::string(1'000, 'a')));
  });
  LogDescription::Partition held;
  do {
    held = topic.describe().partitions[0];
    EXPECT_LE(held.end.value() - held.begin.value(), 2) << "two of them are more than two thirds";
    if (held.end > held.begin) topic.forget_below(kPartition, held.begin.next());
  } while (held.end.value() < kAppends);
  appender.join();
}

TEST(MemoryTopicTest, AnAppendThatIsLargerThanItAllIsTakenAlone) {
  MemoryTopic topic(1, 10);
  EXPECT_TRUE(append(topic, std::string(1'000, 'a')));
  topic.forget_below(kPartition, Offset(1));
  EXPECT_TRUE(append(topic, std::string(1'000, 'b')));
}

TEST(MemoryTopicTest, ClosingItEndsTheWaitingAndTakesNothingMore) {
  MemoryTopic topic(1, 10);
  EXPECT_TRUE(append(topic, "fills it"));
  std::atomic<bool> appended = true;
  std::thread appender([&] { appended = append(topic, "waits"); });
  topic.close();
  appender.join();
  EXPECT_FALSE(appended);
  EXPECT_EQ(topic.end(kPartition), Offset(1));
}

TEST(MemoryTopicTest, WhatIsNeededInPartIsKeptWhole) {
  MemoryTopic topic(1, 1'000);
  EXPECT_TRUE(topic.append(kPartition, std::vector<std::string_view>{"a", "b"}, 0));
  topic.forget_below(kPartition, Offset(1));
  EXPECT_EQ(topic.describe().partitions[0].begin, Offset(0));
}

}  // namespace
}  // namespace millrace
