// KafkaOutput on a real broker: who reads committed records sees each batch once, whoever ended when. Needs
// MILLRACE_KAFKA=HOST:PORT, as kafka_log_test.cc.

#include "adapters/kafka_output.h"

#include <gtest/gtest.h>
#include <librdkafka/rdkafka.h>

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/base/check.h"
#include "common/model/output_lines.h"
#include "tests/conformance/kafka_broker.h"

namespace millrace {
namespace {

// Of a topic of one partition: keys and values.
std::vector<std::string> read_committed_lines(const std::string& topic) {
  std::vector<std::string> lines;
  for (const CommittedRecord& record : read_committed(topic, 1)) {
    lines.push_back(record.key ? *record.key + "=" + record.value : record.value);
  }
  return lines;
}

void delete_group(const std::string& name) {
  rd_kafka_t* const client = make_client(RD_KAFKA_PRODUCER, {});
  rd_kafka_queue_t* const queue = rd_kafka_queue_new(client);
  rd_kafka_DeleteGroup_t* group = rd_kafka_DeleteGroup_new(name.c_str());
  rd_kafka_DeleteGroups(client, &group, 1, nullptr, queue);
  rd_kafka_event_t* const done = rd_kafka_queue_poll(queue, 30'000);
  CHECK(done != nullptr);
  size_t count = 0;
  const auto* const results = rd_kafka_DeleteGroups_result_groups(rd_kafka_event_DeleteGroups_result(done), &count);
  CHECK(count == 1 && rd_kafka_group_result_error(results[0]) == nullptr) << "group " << name << " is not deleted";
  rd_kafka_event_destroy(done);
  rd_kafka_DeleteGroup_destroy(group);
  rd_kafka_queue_destroy(queue);
  rd_kafka_destroy(client);
}

// As an owner that is killed before it commits batch 9.
void leave_open(const std::string& name, const std::string& topic) {
  const auto check = [](rd_kafka_error_t* error) { CHECK(error == nullptr) << rd_kafka_error_string(error); };
  rd_kafka_t* const client = make_client(RD_KAFKA_PRODUCER, {{"transactional.id", name}});
  check(rd_kafka_init_transactions(client, 30'000));
  check(rd_kafka_begin_transaction(client));
  char text[] = "never";
  CHECK(rd_kafka_producev(client, RD_KAFKA_V_TOPIC(topic.c_str()), RD_KAFKA_V_VALUE(text, sizeof text),
                          RD_KAFKA_V_END) == RD_KAFKA_RESP_ERR_NO_ERROR);
  rd_kafka_topic_partition_list_t* const offsets = rd_kafka_topic_partition_list_new(1);
  rd_kafka_topic_partition_list_add(offsets, topic.c_str(), 0)->offset = 9;
  rd_kafka_consumer_group_metadata_t* const group = rd_kafka_consumer_group_metadata_new(name.c_str());
  check(rd_kafka_send_offsets_to_transaction(client, offsets, group, 30'000));
  rd_kafka_consumer_group_metadata_destroy(group);
  rd_kafka_topic_partition_list_destroy(offsets);
  rd_kafka_flush(client, 30'000);
  rd_kafka_destroy(client);
}

class KafkaOutputTest : public testing::Test {
 protected:
  [[nodiscard]] Result<KafkaOutput> open(const std::string& topic,
                                         const std::map<std::string, std::string>& config = {}) const {
    OutputTarget target;
    target.job = job_;
    target.plan = {"lines", "text", 2};
    target.uri = "kafka://" + brokers() + "/" + topic;
    target.config = config;
    return KafkaOutput::open(target);
  }
  [[nodiscard]] KafkaOutput open() const { return open(topic_).value(); }
  [[nodiscard]] KafkaOutput claim() const {
    KafkaOutput output = open();
    const Status claimed = output.claim();
    CHECK(claimed) << claimed.error();
    return output;
  }
  [[nodiscard]] std::string part_name() const { return "millrace-" + to_string(job_) + "-lines-1"; }
  static OutputBatch batch(int64_t id, const std::vector<std::string>& lines, int64_t generation = 1,
                           int64_t previous = 0) {
    std::string bytes;
    for (const std::string& line : lines) OutputLines::add(bytes, std::nullopt, line);
    return {
        1, Generation(generation), BatchId(id), 0, 1, std::make_shared<const std::string>(bytes), BatchId(previous)};
  }
  using Values = std::vector<std::string>;

  SystemRandom random_;
  const JobId job_{random_.next_id()};
  const std::string topic_ = make_topic("output", 1);
};

TEST_F(KafkaOutputTest, appends_each_batch_once_also_for_a_new_owner) {
  KafkaOutput first = claim();
  EXPECT_TRUE(first.append(batch(1, {"a", "b"})));
  EXPECT_TRUE(first.append(batch(2, {"c"}, 1, 1)));
  EXPECT_TRUE(first.append(batch(2, {"c"}, 1, 1)));
  KafkaOutput second = open();
  EXPECT_TRUE(second.enter(1, Generation(2)));
  EXPECT_TRUE(second.append(batch(1, {"again"}, 2)));
  EXPECT_TRUE(second.append(batch(2, {"again"}, 2, 1)));
  EXPECT_TRUE(second.append(batch(5, {"d"}, 2, 2)));
  EXPECT_TRUE(second.enter(1, Generation(2))) << "it says so again from time to time";
  EXPECT_TRUE(second.append(batch(6, {"e"}, 2, 5)));
  EXPECT_EQ(read_committed_lines(topic_), (Values{"a", "b", "c", "d", "e"}));
}

TEST_F(KafkaOutputTest, ends_what_an_owner_has_left_open_at_once) {
  ASSERT_TRUE(claim().append(batch(1, {"a"})));
  leave_open(part_name(), topic_);
  KafkaOutput next = open();
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_TRUE(next.append(batch(9, {"b"}, 2, 1)));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::minutes(1)) << "it has waited for the time-out";
  EXPECT_EQ(read_committed_lines(topic_), (Values{"a", "b"}));
}

TEST_F(KafkaOutputTest, an_owner_of_before_is_kept_out_and_does_not_disturb_the_one_of_now) {
  KafkaOutput older = claim();
  ASSERT_TRUE(older.append(batch(1, {"a"})));
  KafkaOutput younger = open();
  ASSERT_TRUE(younger.enter(1, Generation(2)));
  EXPECT_FALSE(older.append(batch(2, {"b"}, 1, 1)));
  for (int again = 0; again < 2; ++again) {
    const Status fenced = older.append(batch(2, {"b"}, 1, 1));
    ASSERT_FALSE(fenced);
    EXPECT_EQ(fenced.error().code, ErrorCode::kFenced) << fenced.error();
  }
  EXPECT_TRUE(younger.append(batch(2, {"b"}, 2, 1)));
  EXPECT_EQ(read_committed_lines(topic_), (Values{"a", "b"}));
}

// As where the older one has looked for younger ones before there was one.
TEST_F(KafkaOutputTest, what_two_append_that_keep_one_another_out_is_there_once) {
  KafkaOutput one = claim();
  ASSERT_TRUE(one.append(batch(1, {"a"})));
  KafkaOutput other = open();
  ASSERT_TRUE(other.append(batch(2, {"b"}, 1, 1)));
  EXPECT_FALSE(one.append(batch(2, {"b"}, 1, 1)));
  EXPECT_TRUE(one.append(batch(2, {"b"}, 1, 1)));
  EXPECT_TRUE(one.append(batch(3, {"c"}, 1, 2)));
  EXPECT_FALSE(other.append(batch(3, {"c"}, 1, 2)));
  EXPECT_TRUE(other.append(batch(3, {"c"}, 1, 2)));
  EXPECT_TRUE(other.append(batch(4, {"d"}, 1, 3)));
  EXPECT_EQ(read_committed_lines(topic_), (Values{"a", "b", "c", "d"}));
}

TEST_F(KafkaOutputTest, a_broker_that_has_forgotten_how_far_it_had_come_is_an_error_and_nothing_is_appended) {
  {
    KafkaOutput output = claim();
    ASSERT_TRUE(output.append(batch(1, {"a"})));
    const Status behind = output.append(batch(4, {"b"}, 1, 3));
    ASSERT_FALSE(behind);
    EXPECT_EQ(behind.error().code, ErrorCode::kInvalid);
    EXPECT_NE(behind.error().message.find("come to batch 1, and it had come to 3"), std::string::npos)
        << behind.error();
  }
  delete_group(part_name());
  KafkaOutput output = open();
  for (const Status& forgotten : {output.enter(1, Generation(2)), output.append(batch(1, {"a"}, 2))}) {
    ASSERT_FALSE(forgotten);
    EXPECT_EQ(forgotten.error().code, ErrorCode::kInvalid);
    EXPECT_NE(forgotten.error().message.find("offsets.retention.minutes"), std::string::npos) << forgotten.error();
  }
  EXPECT_EQ(read_committed_lines(topic_), (Values{"a"}));
}

TEST_F(KafkaOutputTest, a_pair_has_its_key) {
  std::string bytes;
  OutputLines::add(bytes, "ann", "ann\t7");
  OutputLines::add(bytes, "", "\t8");
  KafkaOutput output = claim();
  ASSERT_TRUE(output.append({0, Generation(1), BatchId(1), 0, 2, std::make_shared<const std::string>(bytes), {}}));
  EXPECT_EQ(read_committed_lines(topic_), (Values{"ann=ann\t7", "=\t8"}));
}

TEST_F(KafkaOutputTest, a_line_that_no_broker_takes_is_final) {
  KafkaOutput output = claim();
  const Status refused = output.append(batch(1, {std::string(3 << 20, 'x')}));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kInvalid) << refused.error();
  EXPECT_NE(refused.error().message.find("max.message.bytes"), std::string::npos) << refused.error();
}

TEST_F(KafkaOutputTest, what_is_wrong_is_said_at_the_claim_and_no_value_of_a_setting_is_shown) {
  // A broker that has more to do than it can is asked again.
  const auto refusal_of = [](KafkaOutput output) {
    Status claimed = output.claim();
    while (!claimed && claimed.error().code == ErrorCode::kTimeout) claimed = output.claim();
    return claimed ? Error{} : claimed.error();
  };
  const Error unknown = refusal_of(open("none-" + topic_).value());
  EXPECT_EQ(unknown.code, ErrorCode::kNotFound);
  EXPECT_NE(unknown.message.find("does not exist; create it or correct --output"), std::string::npos) << unknown;
  const Error too_long = refusal_of(open(topic_, {{"transaction.timeout.ms", "7200000"}}).value());
  EXPECT_NE(too_long.message.find("transaction.max.timeout.ms"), std::string::npos) << too_long;
  for (const char* const setting : {"transactional.id", "isolation.level", "compression.type", "nonsense"}) {
    const auto opened = open(topic_, {{setting, "hunter2"}});
    ASSERT_FALSE(opened) << setting;
    EXPECT_EQ(opened.error().code, ErrorCode::kInvalid);
    EXPECT_NE(opened.error().message.find(setting), std::string::npos) << opened.error();
    EXPECT_EQ(opened.error().message.find("hunter2"), std::string::npos) << opened.error();
  }
}

}  // namespace
}  // namespace millrace
