// What a direct Kafka log does when brokers fail: it goes on where it was, or says why it cannot.
#include <atomic>
#include <map>

#include "tests/conformance/direct_kafka_stage.h"

namespace millrace {
namespace {

using std::chrono::milliseconds;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class DirectKafkaFaultsTest : public DirectKafkaTest {
 protected:
  static std::string name(const Fault& fault) {
    return "api " + std::to_string(static_cast<int>(fault.api)) + ", error " + std::to_string(fault.error) + " or " +
           std::to_string(fault.partition_error) + ", " + std::to_string(fault.bytes.value_or(0)) +
           " bytes, frame of " + std::to_string(fault.frame.value_or("").size());
  }
  // The reader finds a fault that ends it, says so once, and asks for no more.
  void expect_end(ErrorCode code, const std::string& why, int64_t from, const std::vector<std::string>& before) {
    ChunkCollector collector;
    open(collector, from);
    ASSERT_TRUE(collector.wait_for_error(code)) << why;
    EXPECT_THAT(collector.last_error(),
                AllOf(HasSubstr("partition 0 of topic 'lines' on " + kafka_.addresses()), HasSubstr(why)));
    EXPECT_TRUE(kafka_.wait_for_connections(1)) << why;
    const int asked = kafka_.count(Api::kFetch);
    ChunkCollector witness;
    open(witness, 0, {}, 1 << 20, LogPartition(1));
    EXPECT_TRUE(kafka_.wait_for_count(Api::kFetch, asked + 3));
    EXPECT_EQ(collector.values(), before) << why;
    auto errors = collector.errors();
    std::erase(errors, ErrorCode::kUnavailable);  // of what may have passed
    EXPECT_THAT(errors, ElementsAre(code)) << why;
    close_all();
  }
};

TEST_F(DirectKafkaFaultsTest, what_happens_once_costs_no_record_and_nobody_hears_of_it) {
  for (int batch = 0; batch < 3; ++batch) append(numbered("v", 10 * batch, 10 * batch + 10));
  for (const Fault& fault : passing_faults()) {
    make_log();
    kafka_.plan(fault);
    ChunkCollector collector;
    open(collector);
    ASSERT_TRUE(collector.wait_for_offset(Offset(30))) << name(fault) << ": " << collector.last_error();
    EXPECT_TRUE(kafka_.wait_for_faults()) << name(fault);
    EXPECT_EQ(collector.values(), numbered("v", 0, 30)) << name(fault);
    const bool nobody_leads = fault.api == Api::kMetadata && (fault.error == 5 || fault.error == 7);
    EXPECT_EQ(collector.errors().size(), nobody_leads ? 1 : 0) << name(fault) << ": " << collector.last_error();
    close_all();
  }
}

TEST_F(DirectKafkaFaultsTest, what_lasts_is_told_once_and_asked_about_with_pauses_until_it_is_over) {
  constexpr int kAsked = 6;
  std::vector<Fault> lasting;
  for (const Fault& fault : passing_faults()) {
    const bool ends_it = fault.partition_error == 2 || fault.flipped_batch >= 0;
    const bool is_patient = fault.throttle_ms > 0 || (fault.api == Api::kMetadata && fault.error == 3);
    const bool is_harmless = fault.close && !fault.frame && fault.bytes.value_or(1000) > 100;
    const bool is_known = fault.frame && fault.frame->front() == 0;  // One answer that is none is enough here.
    if (!ends_it && !is_patient && !is_harmless && !is_known) lasting.push_back(fault);
  }
  for (Fault& fault : lasting) {
    fault.times = FakeKafka::kForEver;
    make_log();
    append(numbered("v", 0, 10));
    kafka_.plan(fault);
    ChunkCollector collector;
    open(collector);
    ASSERT_TRUE(collector.wait_until_away()) << name(fault);
    const auto begin = std::chrono::steady_clock::now();
    const int asked = kafka_.count();
    ASSERT_TRUE(kafka_.wait_for_count(fault.api, kafka_.count(fault.api) + kAsked)) << name(fault);
    const auto pauses = [&] { return (std::chrono::steady_clock::now() - begin) / kTiming.error_pause; };
    EXPECT_GE(pauses(), kAsked / kBrokers - 1) << name(fault) << ": one broker after the other, then a pause";
    const int all_asked = kafka_.count() - asked;
    EXPECT_LE(all_asked, 5 * (pauses() + 2)) << name(fault);
    kafka_.forget_faults();
    ASSERT_TRUE(collector.wait_for_offset(Offset(10))) << name(fault);
    EXPECT_EQ(collector.values(), numbered("v", 0, 10)) << name(fault);
    EXPECT_THAT(collector.errors(), ElementsAre(ErrorCode::kUnavailable)) << name(fault);
    EXPECT_THAT(collector.last_error(), HasSubstr("127.0.0.1")) << name(fault);
    close_all();
    change([](FakeKafkaTopic& topic) { topic.make_anew(); });
  }
}

TEST_F(DirectKafkaFaultsTest, brokers_that_are_away_are_told_once_and_it_goes_on_when_they_are_back) {
  append(numbered("v", 0, 5));
  ChunkCollector collector;
  open(collector);
  ASSERT_TRUE(collector.wait_for_records(5)) << collector.last_error();
  for (int round = 1; round < 4; ++round) {
    for (int broker = 0; broker < kBrokers; ++broker) kafka_.stop(broker);
    ASSERT_TRUE(collector.wait_until_away());
    if (round == 3) append(numbered("v", 5, 10));
    for (int broker = 0; broker < kBrokers; ++broker) kafka_.start(broker);
    ASSERT_TRUE(collector.wait_until_away(false));
    EXPECT_EQ(collector.errors().size(), static_cast<size_t>(round));
  }
  ASSERT_TRUE(collector.wait_for_records(10)) << collector.last_error();
  EXPECT_EQ(collector.values(), numbered("v", 0, 10));
}

TEST_F(DirectKafkaFaultsTest, a_leader_that_goes_is_replaced_by_the_one_that_follows_it) {
  append(numbered("v", 0, 5));
  ChunkCollector collector;
  open(collector);
  ASSERT_TRUE(collector.wait_for_records(5)) << collector.last_error();
  kafka_.stop(0);
  change([](FakeKafkaTopic& topic) { topic.lead(kPartition, 1); });
  append(numbered("v", 5, 10));
  ASSERT_TRUE(collector.wait_for_records(10)) << collector.last_error();
  EXPECT_EQ(collector.values(), numbered("v", 0, 10));
}

TEST_F(DirectKafkaFaultsTest, whoever_says_nothing_is_given_up) {
  DirectKafkaTiming timing = kTiming;
  timing.connecting = timing.silence = milliseconds(30);
  for (const Api api : {Api::kVersions, Api::kMetadata, Api::kFetch}) {
    for (const size_t bytes : {0, 60}) {
      if (bytes > 0 && api != Api::kFetch) continue;
      make_log(timing);
      append(numbered("v", 0, 5));
      kafka_.plan({.api = api, .times = 3, .bytes = bytes});
      ChunkCollector collector;
      open(collector);
      ASSERT_TRUE(collector.wait_for_records(5)) << collector.last_error();
      EXPECT_THAT(collector.errors(), ElementsAre(ErrorCode::kUnavailable));
      EXPECT_THAT(collector.last_error(), HasSubstr("30 ms"));
      EXPECT_EQ(collector.values(), numbered("v", 0, 5));
      change([](FakeKafkaTopic& topic) { topic.make_anew(); });
    }
  }
  make_log(timing);
  for (int broker = 0; broker < kBrokers; ++broker) kafka_.deafen(broker);
  ChunkCollector collector;
  open(collector);
  ASSERT_TRUE(collector.wait_until_away());
  for (int broker = 0; broker < kBrokers; ++broker) kafka_.start(broker);
  EXPECT_TRUE(collector.wait_until_away(false));
}

TEST_F(DirectKafkaFaultsTest, offsets_that_are_not_there_are_lost) {
  append(numbered("v", 0, 10));
  expect_end(ErrorCode::kDataLost, "offset 11", 11, {});
  append(numbered("v", 10, 20));
  change([](FakeKafkaTopic& topic) { topic.drop_oldest(kPartition, Offset(10)); });
  expect_end(ErrorCode::kDataLost, "offset 3", 3, {});
}

TEST_F(DirectKafkaFaultsTest, what_is_dropped_while_it_reads_is_lost) {
  append(numbered("v", 0, 10, 1000));
  ChunkCollector collector(true);
  open(collector, 0, {}, 1000);
  ASSERT_TRUE(collector.wait_for_records(10)) << collector.last_error();
  append(numbered("v", 10, 20, 1000));
  append(numbered("v", 20, 30, 1000));
  change([](FakeKafkaTopic& topic) { topic.drop_oldest(kPartition, Offset(20)); });
  release(collector);
  ASSERT_TRUE(collector.wait_for_error(ErrorCode::kDataLost));
  EXPECT_THAT(collector.last_error(), HasSubstr("offset 10"));
  EXPECT_EQ(collector.values(), numbered("v", 0, 10, 1000));
}

TEST_F(DirectKafkaFaultsTest, a_log_that_was_cut_back_is_not_the_one_that_was_read) {
  for (const bool broker_tells : {true, false}) {
    make_log();
    append(numbered("v", 0, 5), broker_tells ? AppendedAs{} : AppendedAs{.changed = 15});  // of a later epoch
    ChunkCollector collector(true);
    open(collector, 0, {}, 1);
    ASSERT_TRUE(collector.wait_for_records(5)) << collector.last_error();
    if (broker_tells) change([](FakeKafkaTopic& topic) { topic.cut_back(kPartition, Offset(0)); });
    append(numbered("w", 0, 20));
    release(collector);
    ASSERT_TRUE(collector.wait_for_error(ErrorCode::kDataLost)) << collector.last_error();
    EXPECT_THAT(collector.last_error(), AllOf(HasSubstr("cut back"), HasSubstr("offset")));
    EXPECT_EQ(collector.values(), numbered("v", 0, 5));
    EXPECT_EQ(collector.errors().size(), 1);
    close_all();
    change([](FakeKafkaTopic& topic) { topic.make_anew(); });
  }
}

TEST_F(DirectKafkaFaultsTest, a_topic_that_was_made_anew_is_another_one) {
  append(numbered("v", 0, 5));
  ChunkCollector collector;
  open(collector);
  ASSERT_TRUE(collector.wait_for_records(5)) << collector.last_error();
  change([](FakeKafkaTopic& topic) { topic.make_anew(); });
  append(numbered("w", 0, 50));
  ASSERT_TRUE(collector.wait_for_error(ErrorCode::kDataLost)) << collector.last_error();
  EXPECT_THAT(collector.last_error(), AllOf(HasSubstr("topic 'lines'"), HasSubstr("made anew")));
  EXPECT_EQ(collector.values(), numbered("v", 0, 5));
}

TEST_F(DirectKafkaFaultsTest, a_topic_may_be_away_for_a_while_and_is_lost_if_that_lasts) {
  DirectKafkaTiming timing = kTiming;
  timing.topic_may_be_away = milliseconds(100);
  append(numbered("v", 0, 5));
  for (const bool comes_back : {true, false}) {
    make_log(comes_back ? kTiming : timing);
    ChunkCollector collector;
    open(collector);
    ASSERT_TRUE(collector.wait_for_records(5)) << collector.last_error();
    const int asked = kafka_.count(Api::kMetadata);
    change([](FakeKafkaTopic& topic) { topic.hide(true); });
    ASSERT_TRUE(kafka_.wait_for_count(Api::kMetadata, asked + 3));
    if (comes_back) {
      change([](FakeKafkaTopic& topic) { topic.hide(false); });
      append(numbered("v", 5, 10));
      ASSERT_TRUE(collector.wait_for_records(10)) << collector.last_error();
    } else {
      ASSERT_TRUE(collector.wait_for_error(ErrorCode::kDataLost)) << collector.last_error();
      EXPECT_THAT(collector.last_error(), HasSubstr("topic 'lines'"));
    }
  }
}

TEST_F(DirectKafkaFaultsTest, whoever_may_not_read_is_told) {
  append(numbered("v", 0, 10));
  for (const Fault& fault : std::vector<Fault>{{.times = FakeKafka::kForEver, .partition_error = 29},
                                               {.times = FakeKafka::kForEver, .error = 31},
                                               {.api = Api::kMetadata, .times = FakeKafka::kForEver, .error = 29}}) {
    kafka_.plan(fault);
    ChunkCollector collector;
    open(collector);
    ASSERT_TRUE(collector.wait_for_error(ErrorCode::kInvalid)) << name(fault);
    EXPECT_THAT(collector.last_error(),
                AllOf(HasSubstr("partition 0 of topic 'lines'"), HasSubstr("the right to read")));
    EXPECT_TRUE(kafka_.wait_for_connections(1));
    EXPECT_THAT(collector.errors(), ElementsAre(ErrorCode::kInvalid));
    close_all();
    kafka_.forget_faults();
    make_log();
  }
}

TEST_F(DirectKafkaFaultsTest, what_stays_corrupt_ends_the_reader_and_what_comes_right_does_not) {
  append(numbered("v", 0, 10));
  append(numbered("v", 10, 20));
  const Fault flipped{.partition = kPartition, .from = Offset(10), .flipped_batch = 0};
  kafka_.plan(flipped);
  ChunkCollector collector;
  open(collector, 10);
  ASSERT_TRUE(collector.wait_for_offset(Offset(20))) << collector.last_error();
  EXPECT_THAT(collector.errors(), IsEmpty());
  close_all();

  Fault stays = flipped;
  stays.times = FakeKafka::kForEver;
  kafka_.plan(stays);
  expect_end(ErrorCode::kCorrupt, "offset 10", 10, {});
  kafka_.forget_faults();
  kafka_.plan({.partition = kPartition, .from = Offset(10), .times = FakeKafka::kForEver, .partition_error = 2});
  expect_end(ErrorCode::kCorrupt, "offset 10", 10, {});
  kafka_.forget_faults();
  append(numbered("v", 20, 30), {.changed = 70});
  expect_end(ErrorCode::kCorrupt, "offset 20", 0, numbered("v", 0, 20));
  change([](FakeKafkaTopic& topic) { topic.cut_back(kPartition, Offset(20)); });
  append(numbered("v", 20, 30), {.attributes = static_cast<int16_t>(Compression::kZstd)});  // and is none
  expect_end(ErrorCode::kCorrupt, "offset 20", 0, numbered("v", 0, 20));
}

// What a reader is in the middle of, and how to know that it is.
struct Moment {
  const char* name;
  std::function<void()> prepare;
  std::function<bool()> reached;
};

TEST_F(DirectKafkaFaultsTest, a_deleted_reader_calls_no_more_whatever_it_is_in_the_middle_of) {
  const auto faulted = [this] { return kafka_.wait_for_faults(); };
  const auto planned = [this](const Fault& fault) { return [this, fault] { kafka_.plan(fault); }; };
  std::map<Api, int> before;  // it opens, how often each was asked
  const auto asked = [&](Api api) { return [&, api] { return kafka_.wait_for_count(api, before[api] + 1); }; };
  DirectKafkaTiming patient = kTiming;
  patient.connecting = patient.silence = patient.error_pause = patient.most_pause = std::chrono::hours(1);
  const Moment moments[] = {
      {"begins", [] {}, [] { return true; }},
      {"calls a broker",
       [this] {
         for (int broker = 0; broker < kBrokers; ++broker) kafka_.deafen(broker);
       },
       [] { return true; }},
      {"greets a broker", planned({.api = Api::kVersions, .bytes = 0}), faulted},
      {"asks who leads", planned({.api = Api::kMetadata, .bytes = 0}), faulted},
      {"calls the leader",
       [this] {
         kafka_.deafen(1);
         change([](FakeKafkaTopic& topic) { topic.lead(kPartition, 1); });
       },
       asked(Api::kMetadata)},
      {"greets the leader",
       [this] {
         change([](FakeKafkaTopic& topic) { topic.lead(kPartition, 1); });
         kafka_.plan({.api = Api::kVersions, .broker = 1, .bytes = 0});
       },
       faulted},
      {"waits for news", [this] { change([](FakeKafkaTopic& topic) { topic.make_anew(); }); }, asked(Api::kFetch)},
      {"has a part of an answer", planned({.bytes = 150}), faulted},
      {"pauses", planned({.partition_error = 7}), faulted},
  };
  for (const Moment& moment : moments) {
    for (const bool with_its_log : {false, true}) {
      SCOPED_TRACE(moment.name);
      make_log(patient);
      append(numbered("v", 0, 50, 100));
      moment.prepare();
      for (const Api api : {Api::kMetadata, Api::kFetch}) before[api] = kafka_.count(api);
      auto collector = std::make_unique<ChunkCollector>();
      open(*collector);
      ASSERT_TRUE(moment.reached());
      const auto begin = std::chrono::steady_clock::now();
      close_all();
      const size_t told = collector->ranges().size() + collector->errors().size();
      if (with_its_log) delete_log();
      EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
      EXPECT_TRUE(kafka_.wait_for_connections(with_its_log ? 0 : 1));

      kafka_.forget_faults();
      for (int broker = 0; broker < kBrokers; ++broker) kafka_.start(broker);
      std::unique_ptr<Log> former = std::move(log_);
      make_log();
      append(numbered("v", 50, 60));
      ChunkCollector witness;
      open(witness);
      EXPECT_TRUE(witness.wait_for_offset(end())) << witness.last_error();
      EXPECT_EQ(collector->ranges().size() + collector->errors().size(), told);
      loop_.run_and_wait([&] { former = nullptr; });
      close_all();
      change([](FakeKafkaTopic& topic) { topic.make_anew(); });
    }
  }
}

// Deletes its reader at the first call.
class Deleting final : public LogReaderHandler {
 public:
  explicit Deleting(std::function<void()> delete_it) : delete_it_(std::move(delete_it)) {}
  void on_chunk(LogChunk) override { call(); }
  void on_log_error(LogPartition, const Error&) override { call(); }
  void on_log_back(LogPartition) override { call(); }
  std::atomic<int> calls = 0;

 private:
  void call() {
    ++calls;
    delete_it_();
  }
  const std::function<void()> delete_it_;
};

TEST_F(DirectKafkaFaultsTest, a_reader_may_be_deleted_by_whomever_it_calls) {
  append(numbered("v", 0, 10));
  append(numbered("v", 10, 20), {.codec = Compression::kLz4});  // another chunk of the same answer
  const auto passing = [this] { kafka_.forget_faults(); };
  const std::pair<Fault, std::function<void()>> cases[] = {
      {{.times = 0}, [] {}},
      {{.times = FakeKafka::kForEver, .partition_error = 7}, passing},
      {{.partition_error = 29}, [] {}}};
  for (const auto& [fault, and_then] : cases) {
    if (fault.times > 0) kafka_.plan(fault);
    Deleting deleting([this] { readers_.front() = nullptr; });
    open(deleting);
    EXPECT_TRUE(kafka_.wait_for_connections(1));
    and_then();
    ChunkCollector witness;
    open(witness);
    ASSERT_TRUE(witness.wait_for_records(20)) << witness.last_error();
    EXPECT_EQ(deleting.calls, 1);
    close_all();
  }
}

}  // namespace
}  // namespace millrace
