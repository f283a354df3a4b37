// What a direct Kafka log delivers, from whom, and what it leaves to librdkafka. The faults of brokers are in
// direct_kafka_faults_test.cc, and what every log does is asked of it before a real broker in kafka_log_test.cc.
#include "adapters/kafka_producer.h"
#include "tests/conformance/direct_kafka_stage.h"
#include "tests/conformance/mock_brokers.h"

namespace millrace {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr Compression kCodecs[] = {Compression::kNone, Compression::kGzip, Compression::kSnappy, Compression::kLz4,
                                   Compression::kZstd};

TEST_F(DirectKafkaTest, delivers_batches_of_all_codecs_whatever_the_place_to_begin_and_to_end) {
  std::vector<std::string> all;
  for (const Compression codec : kCodecs) {
    const int begin = static_cast<int>(all.size());
    append(numbered("v", begin, begin + 10), {.codec = codec});
    for (const std::string& value : numbered("v", begin, begin + 10)) all.push_back(value);
  }
  for (const int from : {0, 7, 10, 39}) {
    for (const int until : {40, 43, 50}) {
      ChunkCollector collector;
      open(collector, from, until);
      ASSERT_TRUE(collector.wait_for_offset(Offset(until))) << collector.last_error();
      EXPECT_EQ(collector.values(), numbered("v", from, until));
      EXPECT_EQ(collector.ranges().front().from, Offset(from));
      EXPECT_EQ(collector.ranges().back().to, Offset(until));
      EXPECT_THAT(collector.errors(), IsEmpty());
      close_all();
    }
  }
}

TEST_F(DirectKafkaTest, ends_where_it_was_told_though_no_record_is_there) {
  append(numbered("v", 0, 5));
  append(numbered("v", 10, 15), {.gap = 5});
  ChunkCollector collector;
  open(collector, 3, 8);
  ASSERT_TRUE(collector.wait_for_offset(Offset(8))) << collector.last_error();
  EXPECT_EQ(collector.values(), numbered("v", 3, 5));
  EXPECT_EQ(collector.ranges().back().to, Offset(8));
  ChunkCollector of_nothing;
  open(of_nothing, 6, 6);
  EXPECT_TRUE(kafka_.wait_for_connections(1)) << "only one to ask who leads";
  EXPECT_THAT(of_nothing.ranges(), IsEmpty());
}

TEST_F(DirectKafkaTest, delivers_what_is_appended_later_and_does_not_ask_in_vain) {
  constexpr int kAnswers = 10;
  ChunkCollector collector;
  open(collector);
  ASSERT_TRUE(kafka_.wait_for_count(Api::kFetch, 1));
  const auto begin = std::chrono::steady_clock::now();
  ASSERT_TRUE(kafka_.wait_for_count(Api::kFetch, 1 + kAnswers));
  EXPECT_GE(std::chrono::steady_clock::now() - begin, (kAnswers - 1) * kTiming.fetch_wait);
  for (int number = 0; number < 10; ++number) {
    append(numbered("v", number, number + 1));
    ASSERT_TRUE(collector.wait_for_records(static_cast<size_t>(number) + 1)) << collector.last_error();
  }
  EXPECT_EQ(collector.values(), numbered("v", 0, 10));
  EXPECT_EQ(kafka_.count(Api::kMetadata), 1);
}

TEST_F(DirectKafkaTest, passes_over_aborted_transactions_and_waits_for_open_ones) {
  append(numbered("a", 0, 5), {.codec = Compression::kLz4, .producer = 1});    // 0 to 4
  append(numbered("no", 0, 5), {.codec = Compression::kZstd, .producer = 2});  // 5 to 9
  append(numbered("a", 5, 6));                                                 // 10
  ChunkCollector collector;
  ChunkCollector hurried;
  open(collector);
  ASSERT_TRUE(kafka_.wait_for_count(Api::kFetch, 3));
  EXPECT_THAT(collector.ranges(), IsEmpty());
  make_log(kTiming, {{"isolation.level", "read_uncommitted"}});
  open(hurried);
  ASSERT_TRUE(hurried.wait_for_offset(Offset(11))) << hurried.last_error();
  EXPECT_EQ(hurried.values().size(), 11);
  make_log();
  change([](FakeKafkaTopic& topic) {
    topic.end_transaction(kPartition, 1, true);   // 11
    topic.end_transaction(kPartition, 2, false);  // 12
  });
  for (const int until : {13, 12, 8, 5}) {
    ChunkCollector replay;
    open(replay, 0, until);
    ASSERT_TRUE(replay.wait_for_offset(Offset(until))) << replay.last_error();
    EXPECT_EQ(replay.values(), numbered("a", 0, until > 10 ? 6 : 5));
    EXPECT_EQ(replay.ranges().back().to, Offset(until));
    close_all();
  }
}

TEST_F(DirectKafkaTest, keeps_to_the_read_ahead_and_goes_on_when_it_is_given_back) {
  constexpr size_t kReadAhead = 100'000;
  for (int batch = 0; batch < 50; ++batch) append(numbered("v", batch * 10, batch * 10 + 10, 1000));
  for (const Compression codec : {Compression::kNone, Compression::kSnappy}) {
    append(numbered("w", 0, 10, 1000), {.codec = codec});
  }
  ChunkCollector collector(true);
  open(collector, 0, {}, kReadAhead);
  ASSERT_TRUE(collector.wait_for_records(1)) << collector.last_error();
  ChunkCollector witness;  // when it has read all, the other one had its time
  open(witness);
  ASSERT_TRUE(witness.wait_for_records(520)) << witness.last_error();
  const auto [held, largest] = collector.held_and_largest();
  EXPECT_LE(held, kReadAhead + largest);
  EXPECT_LT(collector.values().size(), 500);
  release(collector);
  ASSERT_TRUE(collector.wait_for_records(520)) << collector.last_error();
  EXPECT_EQ(collector.values(), witness.values());
}

TEST_F(DirectKafkaTest, reads_batches_that_are_larger_than_the_read_ahead) {
  for (const Compression codec : kCodecs) append(numbered("v", 0, 30, 1000), {.codec = codec});
  ChunkCollector collector;
  open(collector, 0, {}, 1);
  ASSERT_TRUE(collector.wait_for_records(150)) << collector.last_error();
  EXPECT_EQ(collector.values().size(), 150);
  const size_t large = 5 << 20;  // more than one answer asks for
  append({std::string(large, 'x')});
  append({"behind it"});
  ASSERT_TRUE(collector.wait_for_records(152)) << collector.last_error();
  EXPECT_EQ(collector.values()[150].size(), large);
}

TEST_F(DirectKafkaTest, reads_many_partitions_at_once_each_with_a_connection_of_its_own) {
  constexpr int kRounds = 10;
  std::vector<std::unique_ptr<ChunkCollector>> collectors;
  for (int partition = 0; partition < kPartitions; ++partition) {
    collectors.push_back(std::make_unique<ChunkCollector>());
    open(*collectors.back(), 0, {}, 1 << 20, LogPartition(partition));
  }
  for (int round = 0; round < kRounds; ++round) {
    change([&](FakeKafkaTopic& topic) {
      for (int partition = 0; partition < kPartitions; ++partition) {
        const std::string name = "p" + std::to_string(partition) + ".";
        topic.append(LogPartition(partition), numbered(name, round * 5, round * 5 + 5));
        if (round == kRounds / 2) topic.lead(LogPartition(partition), partition % kBrokers);
      }
    });
  }
  for (int partition = 0; partition < kPartitions; ++partition) {
    ChunkCollector& collector = *collectors[static_cast<size_t>(partition)];
    ASSERT_TRUE(collector.wait_for_records(kRounds * 5)) << collector.last_error();
    EXPECT_EQ(collector.values(), numbered("p" + std::to_string(partition) + ".", 0, kRounds * 5));
  }
  EXPECT_LE(kafka_.count(Api::kVersions), 2 * kPartitions + kBrokers);
  close_all();
  EXPECT_TRUE(kafka_.wait_for_connections(1));
}

TEST_F(DirectKafkaTest, serves_replays_while_it_follows_the_same_partition) {
  append(numbered("v", 0, 100));
  ChunkCollector follower;
  open(follower);
  for (int round = 0; round < 5; ++round) {
    ChunkCollector one;
    ChunkCollector two;
    const size_t first = open(one, round * 10, round * 10 + 25);
    const size_t second = open(two, round * 10, round * 10 + 45);
    append(numbered("v", 100 + round, 101 + round));
    ASSERT_TRUE(one.wait_for_offset(Offset(round * 10 + 25))) << one.last_error();
    ASSERT_TRUE(two.wait_for_offset(Offset(round * 10 + 45))) << two.last_error();
    EXPECT_EQ(two.values(), numbered("v", round * 10, round * 10 + 45));
    ASSERT_TRUE(follower.wait_for_records(static_cast<size_t>(101 + round))) << follower.last_error();
    close(first);
    close(second);
  }
  EXPECT_EQ(follower.values(), numbered("v", 0, 105));
}

TEST_F(DirectKafkaTest, finds_brokers_by_name_and_tries_all_addresses_of_it) {
  kafka_.advertise("localhost");  // which has an address that nobody listens at, where there is IPv6
  append(numbered("v", 0, 10));
  ChunkCollector collector;
  open(collector);
  ASSERT_TRUE(collector.wait_for_records(10)) << collector.last_error();
  EXPECT_THAT(collector.errors(), IsEmpty());
}

TEST_F(DirectKafkaTest, follows_the_leader) {
  ChunkCollector collector;
  open(collector);
  for (int round = 0; round < 6; ++round) {
    append(numbered("v", round, round + 1));
    ASSERT_TRUE(collector.wait_for_records(static_cast<size_t>(round) + 1)) << collector.last_error();
    change([&](FakeKafkaTopic& topic) { topic.lead(kPartition, (round + 1) % kBrokers); });
  }
  EXPECT_EQ(collector.values(), numbered("v", 0, 6));
  EXPECT_THAT(collector.errors(), IsEmpty()) << "a change of leaders is nothing that people have to know";
}

TEST_F(DirectKafkaTest, asks_another_broker_where_one_does_not_know_the_new_leader_yet) {
  append(numbered("v", 0, 1));
  ChunkCollector collector;
  open(collector);
  ASSERT_TRUE(collector.wait_for_records(1)) << collector.last_error();
  kafka_.lag(0, true);
  change([](FakeKafkaTopic& topic) { topic.lead(kPartition, 1); });
  append(numbered("v", 1, 2));
  ASSERT_TRUE(collector.wait_for_records(2)) << collector.last_error();
  EXPECT_EQ(kafka_.last_fetch().leader_epoch, 1);
  EXPECT_THAT(collector.errors(), IsEmpty());
}

TEST_F(DirectKafkaTest, waits_while_nobody_leads_and_goes_on_where_it_was) {
  append(numbered("v", 0, 1));
  ChunkCollector collector;
  open(collector);
  ASSERT_TRUE(collector.wait_for_records(1)) << collector.last_error();
  for (int round = 1; round < 4; ++round) {
    change([](FakeKafkaTopic& topic) { topic.lead(kPartition, -1); });
    ASSERT_TRUE(collector.wait_until_away());
    EXPECT_THAT(collector.last_error(), HasSubstr("partition 0 of topic 'lines' on " + kafka_.addresses()));
    change([&](FakeKafkaTopic& topic) { topic.lead(kPartition, round % kBrokers); });
    ASSERT_TRUE(collector.wait_until_away(false)) << "though nothing new is there";
    append(numbered("v", round, round + 1));
    ASSERT_TRUE(collector.wait_for_records(static_cast<size_t>(round) + 1));
    EXPECT_EQ(collector.errors().size(), static_cast<size_t>(round));
  }
  EXPECT_EQ(collector.values(), numbered("v", 0, 4));
}

// Fake brokers and those of librdkafka, which is told of both but understood by its own only. What a reader gets from
// whom shows in the values.
class FallBackTest : public DirectKafkaTest {
 protected:
  static constexpr int kAll = 30;

  static void SetUpTestSuite() {
    mock_ = std::make_unique<MockBrokers>();
    const auto producer = KafkaProducer::open({mock_->address(), MockBrokers::kTopic, {}});
    CHECK(producer) << producer.error();
    for (const std::string& value : numbered("old", 0, kAll)) CHECK((*producer)->append(value, kPartition));
    CHECK((*producer)->flush());
  }
  static void TearDownTestSuite() { mock_ = nullptr; }

  // So many records are read before it falls back.
  void expect_fall_back_after(int count) {
    make_log(kTiming, {}, "," + mock_->address());
    std::vector<std::string> expected = numbered("new", 0, count);
    for (const std::string& value : numbered("old", count, kAll - 5)) expected.push_back(value);
    ChunkCollector collector;
    open(collector, 0, kAll - 5);
    ASSERT_TRUE(collector.wait_for_offset(Offset(kAll - 5))) << collector.last_error();
    EXPECT_EQ(collector.values(), expected);
    EXPECT_EQ(collector.ranges().back().to, Offset(kAll - 5));
    EXPECT_THAT(collector.errors(), IsEmpty());
    delete_log();
  }

  static inline std::unique_ptr<MockBrokers> mock_;
};

TEST_F(FallBackTest, of_brokers_that_are_old) {
  kafka_.speak_fetch(12);
  expect_fall_back_after(0);
  kafka_.plan({.api = Api::kVersions, .times = FakeKafka::kForEver, .error = 35});
  expect_fall_back_after(0);
  for (int broker = 0; broker < kBrokers; ++broker) kafka_.stop(broker);
  expect_fall_back_after(0);
}

TEST_F(FallBackTest, of_a_topic_without_an_id) {
  change([](FakeKafkaTopic& topic) { topic.forget_id(); });
  expect_fall_back_after(0);
}

TEST_F(FallBackTest, from_where_a_broker_says_what_only_librdkafka_may_deal_with) {
  append(numbered("new", 0, 20));
  std::vector<Fault> all = {{.preferred_replica = 1}};  // it would rather have it read there
  all.push_back({.partition_error = 43});
  for (Fault& fault : all) {
    fault.from = Offset(20);
    fault.times = FakeKafka::kForEver;
    kafka_.forget_faults();
    kafka_.plan(fault);
    expect_fall_back_after(20);
  }
}

TEST_F(FallBackTest, from_where_a_batch_is_of_a_kind_that_only_librdkafka_may_know) {
  append(numbered("new", 0, 10));
  append({"of a codec that nobody knows"}, {.attributes = 5});
  expect_fall_back_after(10);
  change([](FakeKafkaTopic& topic) { topic.cut_back(kPartition, Offset(10)); });
  append({"of an old format"}, {.changed = 16});
  expect_fall_back_after(10);
}

}  // namespace
}  // namespace millrace
