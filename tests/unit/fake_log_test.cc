#include "tests/fakes/fake_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "tests/conformance/chunk_collector.h"

namespace millrace {
namespace {

// A loop in virtual time, run by hand.
class ManualLoop final : public TaskLoop {
 public:
  void post(Task task) override { schedule(Duration{0}, std::move(task)); }
  TimerId schedule(Duration delay, Task task) override {
    tasks_.emplace(std::pair(now_ + delay, ++next_), std::move(task));
    return next_;
  }
  void cancel(TimerId timer) override {
    std::erase_if(tasks_, [&](const auto& entry) { return entry.first.second == timer; });
  }
  [[nodiscard]] bool on_loop() const override { return true; }

  void run_until_idle() {
    while (!tasks_.empty()) {
      auto first = tasks_.extract(tasks_.begin());
      now_ = first.key().first;
      first.mapped()();
    }
  }

 private:
  std::map<std::pair<Duration, TimerId>, Task> tasks_;
  Duration now_{0};
  TimerId next_ = 0;
};

constexpr LogPartition kFirst{0};

std::vector<std::string> some_values() {
  std::vector<std::string> values;
  for (int number = 0; number < 500; ++number) values.push_back("v" + std::to_string(number));
  return values;
}

std::vector<OffsetRange> ranges_of(uint64_t seed) {
  ManualLoop loop;
  FakeTopic topic(1, seed);
  FakeLog log(topic, loop);
  ChunkCollector collector;
  const auto reader = log.open({kFirst, Offset(0), std::nullopt, 1 << 20}, &collector);
  topic.append(kFirst, some_values());
  topic.skip(kFirst, 7);
  topic.append(kFirst, {"last"});
  loop.run_until_idle();
  auto expected = some_values();
  expected.push_back("last");
  EXPECT_EQ(collector.values(), expected);
  return collector.ranges();
}

TEST(FakeLog, cuts_by_its_seed_and_the_same_way_each_time) {
  EXPECT_EQ(ranges_of(1), ranges_of(1));
  EXPECT_NE(ranges_of(1), ranges_of(2));
  EXPECT_EQ(ranges_of(3).back().to, Offset(508));
}

TEST(FakeLog, tells_once_that_it_is_away_and_goes_on_when_it_is_back) {
  ManualLoop loop;
  FakeTopic topic(1, 1);
  FakeLog log(topic, loop);
  ChunkCollector collector;
  const auto reader = log.open({kFirst, Offset(0), std::nullopt, 1 << 20}, &collector);
  for (int round = 0; round < 2; ++round) {
    topic.set_available(false);
    topic.append(kFirst, {"a"});
    topic.append(kFirst, {"b"});
    loop.run_until_idle();
    EXPECT_EQ(collector.errors().size(), static_cast<size_t>(round) + 1);
    EXPECT_EQ(collector.values().size(), static_cast<size_t>(round) * 2);
    topic.set_available(true);
    loop.run_until_idle();
    EXPECT_EQ(collector.values().size(), static_cast<size_t>(round) * 2 + 2);
  }
}

TEST(FakeLog, made_anew_is_lost_data_to_its_readers) {
  ManualLoop loop;
  FakeTopic topic(1, 1);
  FakeLog log(topic, loop);
  ChunkCollector collector;
  const auto reader = log.open({kFirst, Offset(0), std::nullopt, 1 << 20}, &collector);
  topic.append(kFirst, {"a"});
  loop.run_until_idle();
  topic.make_anew("another");
  topic.append(kFirst, {"b", "c"});
  loop.run_until_idle();
  EXPECT_THAT(collector.errors(), testing::ElementsAre(ErrorCode::kDataLost));
  EXPECT_EQ(topic.describe().topic_id, "another");
}

}  // namespace
}  // namespace millrace
