// The Log suite on Kafka, and what only Kafka does. Needs a broker: MILLRACE_KAFKA=HOST:PORT, e.g. of
// `scripts/kafka start`. The ctest label `kafka` selects it, or leaves it out.
#include <librdkafka/rdkafka.h>

#include <array>
#include <atomic>

#include "adapters/kafka_log.h"
#include "adapters/kafka_producer.h"
#include "adapters/kafka_reader_choice.h"
#include "adapters/open_log.h"
#include "adapters/system_random.h"
#include "common/base/check.h"
#include "common/model/source_topics.h"
#include "tests/conformance/kafka_broker.h"
#include "tests/conformance/log_conformance.h"

namespace millrace {
namespace {

// A client for what the adapters do not do: topics, deleted records, null values, transactions.
class KafkaAdmin {
 public:
  explicit KafkaAdmin(const std::string& transactional_id = "") {
    rd_kafka_conf_t* const conf = rd_kafka_conf_new();
    char text[512];
    rd_kafka_conf_set(conf, "bootstrap.servers", brokers().c_str(), text, sizeof text);
    if (!transactional_id.empty()) {
      rd_kafka_conf_set(conf, "transactional.id", transactional_id.c_str(), text, sizeof text);
    }
    client_ = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
    queue_ = rd_kafka_queue_new(client_);
  }
  ~KafkaAdmin() {
    rd_kafka_queue_destroy(queue_);
    rd_kafka_destroy(client_);
  }
  KafkaAdmin(const KafkaAdmin&) = delete;
  KafkaAdmin& operator=(const KafkaAdmin&) = delete;

  std::string create_topic(int partitions, const std::string& cleanup_policy = "delete") {
    SystemRandom random;
    const std::string name = "conformance-" + to_hex(random.next_id());
    create_topic(name, partitions, cleanup_policy);
    return name;
  }

  void create_topic(const std::string& name, int partitions, const std::string& cleanup_policy) {
    char text[512];
    rd_kafka_NewTopic_t* topic = rd_kafka_NewTopic_new(name.c_str(), partitions, 1, text, sizeof text);
    rd_kafka_NewTopic_set_config(topic, "cleanup.policy", cleanup_policy.c_str());
    rd_kafka_CreateTopics(client_, &topic, 1, nullptr, queue_);
    wait();
    rd_kafka_NewTopic_destroy(topic);
  }

  void delete_topic(const std::string& name) {
    rd_kafka_DeleteTopic_t* request = rd_kafka_DeleteTopic_new(name.c_str());
    rd_kafka_DeleteTopics(client_, &request, 1, nullptr, queue_);
    wait();
    rd_kafka_DeleteTopic_destroy(request);
  }

  void grow(const std::string& topic, size_t partitions) {
    char text[512];
    rd_kafka_NewPartitions_t* request = rd_kafka_NewPartitions_new(topic.c_str(), partitions, text, sizeof text);
    rd_kafka_CreatePartitions(client_, &request, 1, nullptr, queue_);
    wait();
    rd_kafka_NewPartitions_destroy(request);
  }

  void delete_records(const std::string& topic, LogPartition partition, Offset begin) {
    rd_kafka_topic_partition_list_t* const list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic.c_str(), partition.value())->offset = begin.value();
    rd_kafka_DeleteRecords_t* request = rd_kafka_DeleteRecords_new(list);
    rd_kafka_DeleteRecords(client_, &request, 1, nullptr, queue_);
    wait();
    rd_kafka_DeleteRecords_destroy(request);
    rd_kafka_topic_partition_list_destroy(list);
  }

  void produce(const std::string& topic, std::optional<std::string> key, std::optional<std::string> value,
               int64_t timestamp_ms = 0) {
    const void* const key_bytes = key ? key->data() : nullptr;
    const size_t key_size = key ? key->size() : 0;
    void* const value_bytes = value ? value->data() : nullptr;
    const size_t value_size = value ? value->size() : 0;
    const auto error = rd_kafka_producev(client_, RD_KAFKA_V_TOPIC(topic.c_str()), RD_KAFKA_V_PARTITION(0),
                                         RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_TIMESTAMP(timestamp_ms),
                                         RD_KAFKA_V_KEY(key_bytes, key_size), RD_KAFKA_V_VALUE(value_bytes, value_size),
                                         RD_KAFKA_V_END);
    EXPECT_EQ(error, RD_KAFKA_RESP_ERR_NO_ERROR);
  }
  void flush() { EXPECT_EQ(rd_kafka_flush(client_, 30'000), RD_KAFKA_RESP_ERR_NO_ERROR); }

  void transaction(const std::string& topic, const std::vector<std::string>& values, bool commit) {
    if (!begun_) expect_good(rd_kafka_init_transactions(client_, 30'000));
    begun_ = true;
    expect_good(rd_kafka_begin_transaction(client_));
    for (const std::string& value : values) produce(topic, std::nullopt, value);
    flush();
    expect_good(commit ? rd_kafka_commit_transaction(client_, 30'000) : rd_kafka_abort_transaction(client_, 30'000));
  }

 private:
  static void expect_good(rd_kafka_error_t* error) {
    EXPECT_EQ(error, nullptr) << rd_kafka_error_string(error);
    rd_kafka_error_destroy(error);
  }
  void wait() {
    rd_kafka_event_t* const event = rd_kafka_queue_poll(queue_, 30'000);
    ASSERT_NE(event, nullptr);
    EXPECT_EQ(rd_kafka_event_error(event), RD_KAFKA_RESP_ERR_NO_ERROR) << rd_kafka_event_error_string(event);
    rd_kafka_event_destroy(event);
  }

  rd_kafka_t* client_;
  rd_kafka_queue_t* queue_;
  bool begun_ = false;
};

std::unique_ptr<Log> make_log(TaskLoop& loop, const std::string& topic, const std::string& reader = "auto") {
  auto log = open_kafka_log({brokers(), topic, {{kKafkaReaderSetting, reader}}}, loop);
  CHECK(log) << log.error();
  return std::move(*log);
}

struct Direct {
  static constexpr char kReader[] = "direct";
};
struct ByLibrdkafka {
  static constexpr char kReader[] = "librdkafka";
};

template <typename Reader>
class KafkaBed {
 public:
  KafkaBed() : topic_(admin_.create_topic(2)) {
    auto producer = KafkaProducer::open({brokers(), topic_, {}});
    CHECK(producer) << producer.error();
    producer_ = std::move(*producer);
  }
  std::unique_ptr<Log> open(TaskLoop& loop) { return make_log(loop, topic_, Reader::kReader); }
  std::unique_ptr<Log> open_unknown(TaskLoop& loop) { return make_log(loop, topic_ + "-absent", Reader::kReader); }
  void append(EventLoop&, LogPartition partition, const std::vector<std::string>& values) {
    for (const std::string& value : values) {
      const Status appended = producer_->append(value, partition);
      EXPECT_TRUE(appended) << appended.error();
    }
    const Status flushed = producer_->flush();
    EXPECT_TRUE(flushed) << flushed.error();
  }
  void drop_oldest(EventLoop&, LogPartition partition, Offset begin) {
    admin_.delete_records(topic_, partition, begin);
  }

  KafkaAdmin admin_;
  const std::string topic_;
  std::unique_ptr<KafkaProducer> producer_;
};

using KafkaBeds = testing::Types<KafkaBed<Direct>, KafkaBed<ByLibrdkafka>>;
INSTANTIATE_TYPED_TEST_SUITE_P(Kafka, LogConformance, KafkaBeds);

// By the reader that the parameter names.
class KafkaLogTest : public LogConformance<KafkaBed<Direct>>, public testing::WithParamInterface<std::string> {
 public:
  KafkaLogTest() {
    loop_.run_and_wait([this] { log_ = make_log(loop_, bed_.topic_, GetParam()); });
  }
};
INSTANTIATE_TEST_SUITE_P(Readers, KafkaLogTest, testing::Values("direct", "librdkafka"),
                         [](const auto& reader) { return reader.param; });

TEST_P(KafkaLogTest, keeps_keys_nulls_and_timestamps) {
  bed_.admin_.produce(bed_.topic_, "key", "value", 1234567890123);
  bed_.admin_.produce(bed_.topic_, "", std::nullopt, 1234567890000);
  bed_.admin_.produce(bed_.topic_, std::nullopt, "", 1234567891000);
  bed_.admin_.produce(bed_.topic_, std::nullopt, "of no time", -1);
  bed_.admin_.flush();
  ChunkCollector collector(true);
  open(collector, kFirst, 0, 4);
  ASSERT_TRUE(collector.wait_for_offset(Offset(4))) << collector.last_error();
  struct Seen {
    std::optional<std::string> key;
    std::optional<std::string> value;
    int64_t timestamp_ms;
    bool operator==(const Seen&) const = default;
  };
  std::vector<Seen> seen;
  auto chunks = collector.release();
  for (const LogChunk& chunk : chunks) {
    RecordBatchCursor batches(chunk.bytes.view());
    for (RecordBatchView batch; batches.next(batch);) {
      RecordCursor records(batch);
      for (RecordView record; records.next(record);) {
        seen.push_back({record.has_key ? std::optional(std::string(record.key)) : std::nullopt,
                        record.has_value ? std::optional(std::string(record.value)) : std::nullopt,
                        record.timestamp_ms});
      }
    }
  }
  const std::vector<Seen> expected = {{"key", "value", 1234567890123},
                                      {"", std::nullopt, 1234567890000},
                                      {std::nullopt, "", 1234567891000},
                                      {std::nullopt, "of no time", -1}};
  EXPECT_TRUE(seen == expected) << testing::PrintToString(seen.size());
  loop_.run_and_wait([&] { chunks.clear(); });
}

TEST_P(KafkaLogTest, passes_over_aborted_transactions_and_their_marks) {
  KafkaAdmin transactions(bed_.topic_);
  transactions.transaction(bed_.topic_, numbered("a", 0, 5), true);    // 0 to 4, mark 5
  transactions.transaction(bed_.topic_, numbered("no", 0, 5), false);  // 6 to 10, mark 11
  transactions.transaction(bed_.topic_, numbered("a", 5, 7), true);    // 12 to 13, mark 14
  ChunkCollector follower;
  open(follower, kFirst, 0);
  ASSERT_TRUE(follower.wait_for_offset(Offset(15))) << follower.last_error();
  EXPECT_EQ(follower.values(), numbered("a", 0, 7));
  for (const int until : {5, 6, 8, 12, 14, 15}) {
    ChunkCollector replay;
    const size_t reader = open(replay, kFirst, 0, until);
    ASSERT_TRUE(replay.wait_for_offset(Offset(until))) << replay.last_error();
    EXPECT_EQ(replay.ranges().back().to, Offset(until));
    EXPECT_EQ(replay.values(), numbered("a", 0, until >= 14 ? 7 : 5));
    close(reader);
  }
}

TEST_P(KafkaLogTest, reads_what_was_compressed) {
  int records = 0;
  for (const std::string codec : {"gzip", "snappy", "lz4", "zstd", "none"}) {
    auto producer = KafkaProducer::open({brokers(), bed_.topic_, {{"compression.type", codec}}});
    ASSERT_TRUE(producer) << producer.error();
    for (const std::string& value : numbered("v", records, records + 1000)) {
      ASSERT_TRUE((*producer)->append(value, kFirst));
    }
    records += 1000;
    ASSERT_TRUE((*producer)->flush());
    EXPECT_EQ((*producer)->delivered(), 1000);
  }
  ChunkCollector collector;
  open(collector, kFirst, 10, records - 10);
  ASSERT_TRUE(collector.wait_for_offset(Offset(records - 10))) << collector.last_error();
  EXPECT_EQ(collector.values(), numbered("v", 10, records - 10));
}

using DirectKafkaLogTest = LogConformance<KafkaBed<Direct>>;

TEST_F(DirectKafkaLogTest, a_topic_that_is_made_anew_has_another_id_and_lacks_what_was_read) {
  append(kFirst, numbered("v", 0, 10));
  ChunkCollector collector;
  open(collector, kFirst, 0);
  ASSERT_TRUE(collector.wait_for_records(10)) << collector.last_error();
  const auto before = describe(*log_);
  ASSERT_TRUE(before) << before.error();
  EXPECT_EQ(before->topic_id.size(), 32u);
  const auto again = describe(*log_);
  ASSERT_TRUE(again) << again.error();
  EXPECT_EQ(again->topic_id, before->topic_id);

  bed_.admin_.delete_topic(bed_.topic_);
  bed_.admin_.create_topic(bed_.topic_, 2, "delete");
  ASSERT_TRUE(collector.wait_for_error(ErrorCode::kDataLost)) << collector.last_error();
  EXPECT_THAT(collector.last_error(), testing::HasSubstr("'" + bed_.topic_ + "'"));
  const auto after = describe(*log_);
  ASSERT_TRUE(after) << after.error();
  EXPECT_TRUE(is_another_topic(before->topic_id, after->topic_id)) << after->topic_id;
}

TEST_P(KafkaLogTest, several_topics_are_one_log_whose_numbers_stay_when_a_topic_grows) {
  const std::string second = bed_.admin_.create_topic(1);
  const auto to_second = KafkaProducer::open({brokers(), second, {}});
  ASSERT_TRUE(to_second) << to_second.error();
  append(kSecond, numbered("first", 0, 3));
  ASSERT_TRUE((*to_second)->append("second0"));
  ASSERT_TRUE((*to_second)->append("second1"));
  ASSERT_TRUE((*to_second)->flush());
  const auto open_topics = [&](const std::string& topics) {
    loop_.run_and_wait([&] {
      auto log = open_log(loop_, {.uri = "kafka://" + brokers() + "/" + topics,
                                  .config = {{kKafkaReaderSetting, GetParam()}},
                                  .embedded_root = ""});
      CHECK(log) << log.error();
      log_ = std::move(*log);
    });
  };
  open_topics(bed_.topic_ + "," + second);
  constexpr LogPartition kOfSecond = log_partition(1, 0);
  const auto ends = [&] {
    LogOffsets found;
    const auto description = describe(*log_);
    EXPECT_TRUE(description) << description.error();
    for (const auto& partition : description->partitions) found[partition.id] = partition.end;
    return found;
  };
  EXPECT_EQ(ends(), (LogOffsets{{kFirst, Offset(0)}, {kSecond, Offset(3)}, {kOfSecond, Offset(2)}}));
  const auto early = find_time(*log_, 0);
  ASSERT_TRUE(early) << early.error();
  EXPECT_EQ(*early, (LogOffsets{{kFirst, Offset(0)}, {kSecond, Offset(0)}, {kOfSecond, Offset(0)}}));

  ChunkCollector of_first(true);
  ChunkCollector of_second(true);
  open(of_first, kSecond, 0, 3);
  open(of_second, kOfSecond, 1, 2);
  ASSERT_TRUE(of_first.wait_for_records(3)) << of_first.last_error();
  ASSERT_TRUE(of_second.wait_for_offset(Offset(2))) << of_second.last_error();
  EXPECT_EQ(of_first.values(), numbered("first", 0, 3));
  EXPECT_EQ(of_second.values(), numbered("second", 1, 2));
  auto chunks = of_second.release();
  EXPECT_EQ(chunks.front().partition, kOfSecond);
  loop_.run_and_wait([&] {
    chunks.clear();
    of_first.release();
  });
  close_all();

  bed_.admin_.grow(bed_.topic_, 4);
  LogOffsets grown = ends();
  for (const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(30);
       grown.size() < 5 && std::chrono::steady_clock::now() < until;) {
    grown = ends();
  }
  EXPECT_EQ(grown, (LogOffsets{{kFirst, Offset(0)},
                               {kSecond, Offset(3)},
                               {LogPartition(2), Offset(0)},
                               {LogPartition(3), Offset(0)},
                               {kOfSecond, Offset(2)}}));

  open_topics(second + "," + bed_.topic_ + "-absent");
  const auto absent = describe(*log_);
  ASSERT_FALSE(absent);
  EXPECT_EQ(absent.error().code, ErrorCode::kNotFound);
  EXPECT_EQ(absent.error().message,
            "topic '" + bed_.topic_ + "-absent' on " + brokers() + " does not exist; create it or correct --source");
}

TEST(KafkaCleanupPolicyTest, a_compacted_topic_is_unfit_for_a_job_and_says_why) {
  KafkaAdmin admin;
  EventLoop loop("kafka-test");
  loop.start();
  for (const std::string policy : {"delete", "compact", "compact,delete"}) {
    const std::string topic = admin.create_topic(1, policy);
    std::unique_ptr<Log> log;
    std::promise<Result<LogDescription>> answer;
    loop.run_and_wait([&] {
      log = make_log(loop, topic);
      log->describe([&](Result<LogDescription> got) { answer.set_value(std::move(got)); });
    });
    const auto description = answer.get_future().get();
    loop.run_and_wait([&] { log = nullptr; });
    ASSERT_TRUE(description) << description.error();
    EXPECT_EQ(description->partitions.size(), 1u);
    if (policy == "delete") {
      EXPECT_EQ(description->unfit, "");
    } else {
      EXPECT_THAT(description->unfit, testing::AllOf(testing::HasSubstr("topic '" + topic + "' on " + brokers()),
                                                     testing::HasSubstr("cleanup.policy=" + policy),
                                                     testing::HasSubstr("another topic in --source")));
    }
  }
}

TEST(KafkaOptionsTest, name_the_setting_that_librdkafka_does_not_know) {
  const Status unknown = check_kafka_options({"h:1", "t", {{"fetch.mon.bytes", "1"}}});
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().code, ErrorCode::kInvalid);
  EXPECT_THAT(unknown.error().message, testing::HasSubstr("'fetch.mon.bytes'"));
  for (const std::string name : {"plugin.library.paths", "ssl.engine.location", "sasl.kerberos.kinit.cmd"}) {
    const Status reserved = check_kafka_options({"h:1", "t", {{name, "/x.so"}}});
    ASSERT_FALSE(reserved);
    EXPECT_THAT(reserved.error().message, testing::HasSubstr(name + "' is not yours to set"));
  }
}

TEST(KafkaOptionsTest, do_not_print_values_for_they_may_be_secrets) {
  const Status bad = check_kafka_options({"h:1", "t", {{"security.protocol", "secret-value"}}});
  ASSERT_FALSE(bad);
  EXPECT_THAT(bad.error().message, testing::Not(testing::HasSubstr("secret-value")));
  EXPECT_THAT(bad.error().message, testing::HasSubstr("security.protocol"));
}

class KafkaAwayTest : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Readers, KafkaAwayTest, testing::Values("direct", "librdkafka"),
                         [](const auto& reader) { return reader.param; });

TEST_P(KafkaAwayTest, is_told_when_no_broker_is_there) {
  EventLoop loop("kafka-test");
  loop.start();
  std::unique_ptr<Log> log;
  std::promise<Result<LogDescription>> answer;
  ChunkCollector collector;
  std::unique_ptr<LogReader> reader;
  loop.run_and_wait([&] {
    log = std::move(*open_kafka_log({"127.0.0.1:1", "t", {{kKafkaReaderSetting, GetParam()}}}, loop));
    reader = log->open({LogPartition(0), Offset(0), std::nullopt, 1 << 20}, &collector);
    log->describe([&](Result<LogDescription> got) { answer.set_value(std::move(got)); });
  });
  const auto description = answer.get_future().get();
  ASSERT_FALSE(description);
  EXPECT_THAT(description.error().code, testing::AnyOf(ErrorCode::kUnavailable, ErrorCode::kTimeout));
  EXPECT_THAT(description.error().message, testing::HasSubstr("127.0.0.1:1"));
  EXPECT_TRUE(collector.wait_for_error(ErrorCode::kUnavailable));
  EXPECT_EQ(collector.errors().size(), 1u);
  loop.run_and_wait([&] {
    reader = nullptr;
    log = nullptr;
  });
  EXPECT_FALSE(KafkaProducer::open({"127.0.0.1:1", "t", {}}, std::chrono::milliseconds(400)));
}

TEST(KafkaProducerTest, says_that_a_topic_does_not_exist_and_does_not_make_it) {
  for (int round = 0; round < 2; ++round) {
    const auto producer = KafkaProducer::open({brokers(), "no-such-topic", {}});
    ASSERT_FALSE(producer);
    EXPECT_EQ(producer.error().code, ErrorCode::kNotFound) << producer.error();
  }
}

}  // namespace
}  // namespace millrace
