#include "adapters/kafka_transactions.h"

#include <cstdlib>
#include <cstring>
#include <utility>

namespace millrace {
namespace {

constexpr int kTransactionStepMs = 500;
constexpr Duration kSlowCommit = std::chrono::seconds(1);  // librdkafka does not tell that it has repeated one

// - A broker ends a transaction after it has answered, and the next one is tried until then: each waits for that.
// - rd_kafka_send_offsets_to_transaction() of 2.0 looks three times for a group's coordinator, and then waits, without
//   end, for a connection to come or go. Where there is none yet, or it moves, that is when an idle one is closed.
const std::map<std::string, std::string> kTransactionSettings = {
    {"client.id", "millrace"},  {"partitioner", "murmur2_random"},    {"log.connection.close", "false"},
    {"retry.backoff.ms", "20"}, {"reconnect.backoff.max.ms", "1000"}, {"connections.max.idle.ms", "3000"},
};

}  // namespace

KafkaTransactions::KafkaTransactions(KafkaOptions options, std::vector<std::string> topics, Explain explain,
                                     Duration patience, const std::atomic<bool>& stopping)
    : options_(std::move(options)),
      names_(std::move(topics)),
      explain_(std::move(explain)),
      patience_(patience, stopping) {}

KafkaTransactions::~KafkaTransactions() {
  if (client_ != nullptr) rd_kafka_purge(client_.get(), RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
}

Status KafkaTransactions::start(const std::string& id, const std::map<std::string, std::string>& ours) {
  std::map<std::string, std::string> settings = ours;
  settings.insert(kTransactionSettings.begin(), kTransactionSettings.end());
  auto conf =
      make_kafka_conf(options_, settings, {{"acks", "all"}, {"enable.idempotence", "true"}, {"transactional.id", id}});
  if (!conf) return std::unexpected(conf.error());
  rd_kafka_conf_set_opaque(conf->get(), this);
  rd_kafka_conf_set_dr_msg_cb(conf->get(), on_delivery);
  auto client = make_kafka_client(RD_KAFKA_PRODUCER, std::move(*conf));
  if (!client) return std::unexpected(client.error());
  client_ = std::move(*client);
  for (const std::string& name : names_) {
    topics_.emplace_back(rd_kafka_topic_new(client_.get(), name.c_str(), nullptr));
    if (topics_.back() == nullptr) return fail(ErrorCode::kInvalid, "'" + name + "' is no name of a topic");
  }
  Status ready = finish([this] { return rd_kafka_init_transactions(client_.get(), kTransactionStepMs); });
  if (ready) learn_topics();
  return ready;
}

Status KafkaTransactions::begin() {
  if (const KafkaError error(rd_kafka_begin_transaction(client_.get())); error != nullptr) return failure(*error);
  patience_.progress();
  return {};
}

Status KafkaTransactions::give(size_t topic, const Record& record) {
  const void* const key = record.key ? record.key->data() : nullptr;
  const size_t key_size = record.key ? record.key->size() : 0;
  void* const value = const_cast<char*>(record.value.data());  // copied; the interface lacks the const
  const size_t value_size = record.value.size();
  const int32_t to = record.partition ? record.partition->value() : RD_KAFKA_PARTITION_UA;
  for (;;) {
    const rd_kafka_resp_err_t error =
        rd_kafka_producev(client_.get(), RD_KAFKA_V_RKT(topics_[topic].get()), RD_KAFKA_V_PARTITION(to),
                          RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_KEY(key, key_size),
                          RD_KAFKA_V_VALUE(value, value_size), RD_KAFKA_V_OPAQUE(record.written), RD_KAFKA_V_END);
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR) return {};
    if (patience_.stopping()) return KafkaPatience::ended();
    if (error != RD_KAFKA_RESP_ERR__QUEUE_FULL || patience_.is_over()) return failure(error);
    rd_kafka_poll(client_.get(), kTransactionStepMs);
  }
}

Status KafkaTransactions::deliver() {
  patience_.progress();
  for (;;) {
    const rd_kafka_resp_err_t error = rd_kafka_flush(client_.get(), kTransactionStepMs);
    if (failed_ != RD_KAFKA_RESP_ERR_NO_ERROR) return failure(failed_);
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR) return {};
    if (patience_.stopping()) return KafkaPatience::ended();
    if (error != RD_KAFKA_RESP_ERR__TIMED_OUT || patience_.is_over()) return failure(error);
  }
}

Status KafkaTransactions::note(const std::string& group, int64_t offset, const std::string& text) {
  const KafkaPartitionList offsets(rd_kafka_topic_partition_list_new(1));
  rd_kafka_topic_partition_t* const noted = rd_kafka_topic_partition_list_add(offsets.get(), names_.front().c_str(), 0);
  noted->offset = offset;
  noted->metadata = strdup(text.c_str());  // freed with the list
  noted->metadata_size = text.size();
  const KafkaGroup its_group(rd_kafka_consumer_group_metadata_new(group.c_str()));
  return finish([&] {
    return rd_kafka_send_offsets_to_transaction(client_.get(), offsets.get(), its_group.get(), kTransactionStepMs);
  });
}

Status KafkaTransactions::commit() {
  const auto begin = std::chrono::steady_clock::now();
  Status committed = finish([this] { return rd_kafka_commit_transaction(client_.get(), kTransactionStepMs); });
  may_go_on_ = committed && std::chrono::steady_clock::now() - begin < kSlowCommit;
  return committed;
}

void KafkaTransactions::on_delivery(rd_kafka_t*, const rd_kafka_message_t* message, void* opaque) {
  auto* const self = static_cast<KafkaTransactions*>(opaque);
  self->patience_.progress();
  if (self->failed_ == RD_KAFKA_RESP_ERR_NO_ERROR) self->failed_ = message->err;
  if (message->_private == nullptr) return;
  *static_cast<WrittenRange*>(message->_private) = {LogPartition(message->partition), Offset(message->offset), 1};
}

// librdkafka looks once a second for topics that it does not know, while records wait.
void KafkaTransactions::learn_topics() {
  for (const KafkaTopicHandle& topic : topics_) {
    const rd_kafka_metadata_t* found = nullptr;
    (void)rd_kafka_metadata(client_.get(), 0, topic.get(), &found, kTransactionStepMs);
    const RdKafkaMetadata metadata(found);
  }
}

// Calls it again as long as it says that this may help, and something goes on.
template <typename Call>
Status KafkaTransactions::finish(Call call) {
  patience_.progress();
  for (;;) {
    const KafkaError error(call());
    rd_kafka_poll(client_.get(), 0);
    if (error == nullptr) return {};
    if (patience_.stopping()) return KafkaPatience::ended();
    if (rd_kafka_error_is_retriable(error.get()) == 0 || patience_.is_over()) return failure(*error);
  }
}

// A record that was not delivered is the cause of what follows.
Status KafkaTransactions::failure(const rd_kafka_error_t& error) const {
  if (failed_ != RD_KAFKA_RESP_ERR_NO_ERROR) return failure(failed_);
  return std::unexpected(explain_(rd_kafka_error_code(&error), rd_kafka_error_string(&error)));
}

Status KafkaTransactions::failure(rd_kafka_resp_err_t error) const {
  rd_kafka_resp_err_t cause = failed_ != RD_KAFKA_RESP_ERR_NO_ERROR ? failed_ : error;
  if (cause == RD_KAFKA_RESP_ERR__FATAL) cause = rd_kafka_fatal_error(client_.get(), nullptr, 0);
  return std::unexpected(explain_(cause, rd_kafka_err2str(cause)));
}

}  // namespace millrace
