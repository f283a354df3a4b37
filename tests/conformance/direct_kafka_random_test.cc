// A direct Kafka log before brokers that fail at random: each record comes once and in order all the same.
//
//   MILLRACE_KAFKA_SEEDS=N   so many other series of faults, instead of the usual few
//   MILLRACE_KAFKA_SEED=K    only this one
#include <algorithm>
#include <cstdlib>
#include <random>

#include "tests/conformance/direct_kafka_stage.h"

namespace millrace {
namespace {

constexpr int kSteps = 60;

unsigned number_from(const char* variable, unsigned otherwise) {
  const char* const text = std::getenv(variable);
  return text == nullptr ? otherwise : static_cast<unsigned>(std::stoul(text));
}

class DirectKafkaRandomTest : public DirectKafkaTest, public testing::WithParamInterface<unsigned> {
 protected:
  struct Reading {
    int64_t from;
    int64_t until;
    std::unique_ptr<ChunkCollector> collector = std::make_unique<ChunkCollector>();
  };

  int below(int limit) { return static_cast<int>(random_() % static_cast<unsigned>(limit)); }

  void append_some() {
    AppendedAs as;
    as.codec = static_cast<Compression>(below(5));
    if (below(4) == 0) as.producer = 1 + below(3);
    if (below(8) == 0) as.gap = below(20);
    next_ += as.gap;
    std::vector<std::string> values;
    for (int count = 1 + below(30); count > 0; --count) {
      values.push_back(std::to_string(next_) +
                       std::string(static_cast<size_t>(below(below(10) == 0 ? 3000 : 50)), '.'));
      if (as.producer > 0) open_[as.producer].push_back(next_);
      records_[next_++] = values.back();
    }
    append(values, as);
  }
  void end_transaction(int64_t producer) {
    const auto transaction = open_.extract(producer);
    if (transaction.empty()) return;
    const bool commit = below(2) == 0;
    for (const int64_t offset : transaction.mapped()) {
      if (!commit) records_.erase(offset);
    }
    change([&](FakeKafkaTopic& topic) { topic.end_transaction(kPartition, producer, commit); });
    ++next_;
  }
  void replay() {
    const int64_t from = below(static_cast<int>(next_) + 1);
    replays_.push_back({from, from + below(static_cast<int>(next_ - from) + 1)});
    open(*replays_.back().collector, from, replays_.back().until, static_cast<size_t>(1) << below(20));
  }
  void plan_fault() {
    Fault fault = faults_[static_cast<size_t>(below(static_cast<int>(faults_.size())))];
    if (fault.flipped_batch >= 0 || fault.partition_error == 2) return;  // Some of these in a row are the end.
    fault.times = 1 + below(3);
    if (below(3) == 0) fault.broker = below(kBrokers);
    kafka_.plan(fault);
  }
  void stop_one() {
    const int broker = below(kBrokers);
    kafka_.start(1 - broker);
    kafka_.stop(broker);
  }
  void lead(int broker) {
    change([&](FakeKafkaTopic& topic) { topic.lead(kPartition, broker); });
  }

  void expect_exact(const Reading& reading) {
    ChunkCollector& collector = *reading.collector;
    if (reading.from == reading.until) return;
    ASSERT_TRUE(collector.wait_for_offset(Offset(reading.until)))
        << reading.from << " to " << reading.until << ": " << collector.last_error();
    EXPECT_EQ(collector.ranges().front().from, Offset(reading.from));
    EXPECT_EQ(collector.ranges().back().to, Offset(reading.until));
    std::vector<int64_t> offsets;
    std::vector<std::string> values;
    for (auto record = records_.lower_bound(reading.from); record != records_.lower_bound(reading.until); ++record) {
      offsets.push_back(record->first);
      values.push_back(record->second);
    }
    EXPECT_EQ(collector.offsets(), offsets);
    EXPECT_EQ(collector.values(), values);
    for (const ErrorCode code : collector.errors()) EXPECT_EQ(code, ErrorCode::kUnavailable) << collector.last_error();
  }
  void mend() {
    kafka_.forget_faults();
    for (int broker = 0; broker < kBrokers; ++broker) {
      kafka_.start(broker);
      kafka_.lag(broker, false);
    }
    lead(below(kBrokers));
    for (int64_t producer = 1; producer < 4; ++producer) end_transaction(producer);
    follower_.until = next_;
    expect_exact(follower_);
    for (const Reading& reading : replays_) expect_exact(reading);
    readers_.resize(1);  // the follower
    replays_.clear();
  }

  void step() {
    const int choice = below(100);
    if (choice < 45) return append_some();
    if (choice < 55) return end_transaction(1 + below(3));
    if (choice < 75) return plan_fault();
    if (choice < 83) return lead(below(kBrokers + 1) - 1);
    if (choice < 88) return stop_one();
    if (choice < 92) return kafka_.lag(below(kBrokers), below(2) == 0);
    if (choice < 97) return replay();
    mend();
    kafka_.plan({.flipped_batch = below(3)});
  }

  std::mt19937 random_{GetParam()};
  const std::vector<Fault> faults_ = passing_faults();
  int64_t next_ = 0;
  std::map<int64_t, std::string> records_;
  std::map<int64_t, std::vector<int64_t>> open_;  // transactions, by their producers: offsets
  Reading follower_{0, 0};
  std::vector<Reading> replays_;
};

TEST_P(DirectKafkaRandomTest, each_record_comes_once_and_in_order) {
  DirectKafkaTiming timing = kTiming;
  timing.fetch_wait = std::chrono::milliseconds(5);
  timing.silence = std::chrono::milliseconds(50);
  make_log(timing);
  open(*follower_.collector);
  for (int steps = 0; steps < kSteps && !HasFailure(); ++steps) {
    const int asked = kafka_.count();
    step();
    ASSERT_TRUE(kafka_.wait_for_count({}, asked + below(4))) << "it asks nobody any more";
  }
  mend();
}

auto seeds() {
  const unsigned only = number_from("MILLRACE_KAFKA_SEED", 0);
  return only != 0 ? testing::Range(only, only + 1) : testing::Range(1u, 1 + number_from("MILLRACE_KAFKA_SEEDS", 3));
}
INSTANTIATE_TEST_SUITE_P(Seeds, DirectKafkaRandomTest, seeds());

}  // namespace
}  // namespace millrace
