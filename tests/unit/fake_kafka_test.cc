#include "tests/fakes/fake_kafka.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>

#include "adapters/fetch_answer.h"
#include "adapters/kafka_connection.h"
#include "tests/conformance/chunk_collector.h"

namespace millrace {
namespace {

using testing::ElementsAre;
using Api = FakeKafka::Api;

constexpr LogPartition kPartition{0};

// Asks one question after the other, on one connection.
class Client {
 public:
  explicit Client(const std::string& address)
      : connection_(std::move(KafkaConnection::begin(*numeric_address(*parse_address("broker", address)), {}))) {
    (void)versions();
  }

  std::optional<KafkaVersions> versions() {
    ++last_;
    return parse_versions(ask(versions_request(last_, "test")), last_);
  }
  std::optional<KafkaMetadata> metadata() {
    ++last_;
    return parse_metadata(ask(metadata_request("lines", last_, "test")), last_, "lines");
  }
  // Of what there is at once.
  std::unique_ptr<FetchAnswer> fetch(FetchQuestion question) {
    const auto about = metadata();
    question.topic = about->topic;
    if (question.max_bytes == 0) question.max_bytes = 1 << 20;
    auto answer = std::make_unique<FetchAnswer>(question, ++last_, 1 << 20, std::make_shared<FetchBlocks>(),
                                                std::make_shared<ReadCredit>(1 << 20, [] {}));
    EXPECT_TRUE(send(fetch_request(question, last_, "test")));
    receive(*answer, FetchAnswer::State::kMore);
    return answer;
  }

 private:
  bool send(const std::string& request) {
    pollfd writable{connection_->descriptor(), POLLOUT, 0};
    return ::poll(&writable, 1, 10'000) == 1 && connection_->send(request);
  }
  std::string ask(const std::string& request) {
    FrameReceiver receiver(1 << 20);
    if (!send(request)) return "";
    receive(receiver, FrameReceiver::State::kMore);
    return std::string(receiver.frame());
  }
  template <typename Receiver, typename State>
  void receive(Receiver& receiver, State state) {
    while (state == State::kMore) {
      pollfd readable{connection_->descriptor(), POLLIN, 0};
      ASSERT_EQ(::poll(&readable, 1, 10'000), 1);
      const auto got = connection_->receive(receiver.room());
      if (!got) return;
      state = receiver.arrived(*got);
    }
  }

  Result<KafkaConnection> connection_;
  int32_t last_ = 0;
};

std::vector<int64_t> begins(const FetchAnswer& answer) {
  std::vector<int64_t> all;
  for (const RecordBatchView& batch : answer.walk().batches()) all.push_back(batch.base_offset().value());
  return all;
}

class FakeKafkaTest : public testing::Test {
 protected:
  ~FakeKafkaTest() override { EXPECT_EQ(kafka_.problem(), ""); }
  void append(int count, const AppendedAs& how = {}) {
    kafka_.change([&](FakeKafkaTopic& topic) { topic.append(kPartition, numbered("v", 0, count), how); });
  }

  FakeKafka kafka_{2};
  Client client_{kafka_.address(0)};
};

TEST_F(FakeKafkaTest, tells_what_it_speaks_and_who_leads) {
  EXPECT_TRUE(client_.versions()->fetch && client_.versions()->metadata);
  const auto metadata = client_.metadata();
  ASSERT_TRUE(metadata);
  ASSERT_EQ(metadata->brokers.size(), 2);
  EXPECT_EQ(metadata->brokers[1].host + ":" + std::to_string(metadata->brokers[1].port), kafka_.address(1));
  EXPECT_EQ(metadata->partitions[0].leader, 0);
  kafka_.change([](FakeKafkaTopic& topic) { topic.lead(kPartition, 1); });
  EXPECT_EQ(client_.metadata()->partitions[0].leader, 1);
  EXPECT_EQ(client_.metadata()->partitions[0].leader_epoch, 1);
  EXPECT_EQ(client_.fetch({.from = Offset(0)})->head().partition_error, 6);
  kafka_.speak_fetch(12);
  EXPECT_FALSE(client_.versions()->fetch);
}

TEST_F(FakeKafkaTest, gives_batches_as_a_broker_does) {
  append(3);
  append(3, {.codec = Compression::kZstd});
  append(3, {.gap = 4});
  EXPECT_THAT(begins(*client_.fetch({.from = Offset(0)})), ElementsAre(0, 3, 10));
  EXPECT_THAT(begins(*client_.fetch({.from = Offset(4)})), ElementsAre(3, 10));
  EXPECT_THAT(begins(*client_.fetch({.from = Offset(8)})), ElementsAre(10));
  EXPECT_THAT(begins(*client_.fetch({.from = Offset(13)})), ElementsAre());
  const auto little = client_.fetch({.from = Offset(0), .max_bytes = 1});
  EXPECT_THAT(begins(*little), ElementsAre(0));
  const auto cut_off = client_.fetch({.from = Offset(0), .max_bytes = 140});
  EXPECT_EQ(cut_off->head().records_bytes, 140);
  EXPECT_THAT(begins(*cut_off), ElementsAre(0));
  EXPECT_EQ(client_.fetch({.from = Offset(14)})->head().partition_error, 1);
  kafka_.change([](FakeKafkaTopic& topic) { topic.drop_oldest(kPartition, Offset(3)); });
  EXPECT_EQ(client_.fetch({.from = Offset(2)})->head().partition_error, 1);
}

TEST_F(FakeKafkaTest, keeps_open_transactions_back_and_names_aborted_ones) {
  append(2, {.producer = 7});
  append(2);
  EXPECT_THAT(begins(*client_.fetch({.from = Offset(0)})), ElementsAre());
  EXPECT_THAT(begins(*client_.fetch({.from = Offset(0), .committed = false})), ElementsAre(0, 2));
  kafka_.change([](FakeKafkaTopic& topic) { topic.end_transaction(kPartition, 7, false); });
  const auto answer = client_.fetch({.from = Offset(0)});
  EXPECT_THAT(begins(*answer), ElementsAre(0, 2, 4));
  EXPECT_TRUE(answer->walk().batches()[0].is_control()) << "hidden";
  EXPECT_FALSE(answer->walk().batches()[1].is_control());
}

TEST_F(FakeKafkaTest, knows_epochs) {
  append(3);
  kafka_.change([](FakeKafkaTopic& topic) { topic.cut_back(kPartition, Offset(0)); });
  append(3);
  kafka_.change([](FakeKafkaTopic& topic) { topic.lead(kPartition, 0); });
  append(3);
  EXPECT_EQ(client_.fetch({.leader_epoch = 1, .from = Offset(0)})->head().partition_error, 74);
  EXPECT_EQ(client_.fetch({.leader_epoch = 3, .from = Offset(0)})->head().partition_error, 75);
  EXPECT_FALSE(client_.fetch({.leader_epoch = 2, .from = Offset(3), .last_epoch = 1})->tail().diverging);
  const auto diverging = client_.fetch({.leader_epoch = 2, .from = Offset(5), .last_epoch = 1})->tail().diverging;
  ASSERT_TRUE(diverging);
  EXPECT_EQ(diverging->end, Offset(3));
  EXPECT_TRUE(client_.fetch({.leader_epoch = 2, .from = Offset(2), .last_epoch = 0})->tail().diverging);
}

TEST_F(FakeKafkaTest, does_what_was_planned_and_no_more) {
  append(3);
  kafka_.plan({.times = 2, .partition_error = 56});
  kafka_.plan({.flipped_batch = 0});
  for (int round = 0; round < 2; ++round) EXPECT_EQ(client_.fetch({.from = Offset(0)})->head().partition_error, 56);
  EXPECT_EQ(client_.fetch({.from = Offset(0)})->walk().state(), BatchWalk::State::kCorrupt);
  EXPECT_EQ(client_.fetch({.from = Offset(0)})->walk().state(), BatchWalk::State::kGood);
  EXPECT_EQ(kafka_.count(Api::kFetch), 4);
  kafka_.plan({.bytes = 100, .close = true});
  EXPECT_EQ(client_.fetch({.from = Offset(0)})->state(), FetchAnswer::State::kMore);
  EXPECT_TRUE(kafka_.wait_for_connections(0));
}

}  // namespace
}  // namespace millrace
