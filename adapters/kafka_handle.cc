#include "adapters/kafka_handle.h"

#include <algorithm>
#include <chrono>
#include <string_view>

#include "common/base/check.h"

namespace millrace {
namespace {

constexpr int64_t kStepMs = 500;
constexpr int kProbeMs = 100;
constexpr int kPauseMs = 50;

// What is fetched and not yet packed, of all partitions of a client together, and of one: the queues are as large as
// that allows because a full one makes librdkafka 2.0 idle for up to a second.
constexpr size_t kQueuedKb = 512 << 10;
constexpr size_t kLeastQueuedKb = 8 << 10;
constexpr size_t kMostQueuedKb = 128 << 10;

const std::map<std::string, std::string> kOurs = {
    {"check.crcs", "true"},
    {"client.id", "millrace"},
    {"fetch.error.backoff.ms", "100"},
    {"fetch.max.bytes", "67108864"},
    {"fetch.message.max.bytes", "8388608"},
    {"log.connection.close", "false"},
    {"queued.min.messages", "500000"},
    {"reconnect.backoff.max.ms", "1000"},
    {"socket.keepalive.enable", "true"},
    {"socket.receive.buffer.bytes", "4194304"},
};

// auto.offset.reset: the default skips lost data in silence. enable.partition.eof tells of offsets without records.
const std::map<std::string, std::string> kNeeded = {
    {"allow.auto.create.topics", "false"}, {"auto.offset.reset", "error"},   {"enable.auto.commit", "false"},
    {"enable.auto.offset.store", "false"}, {"enable.partition.eof", "true"},
};

bool may_pass(rd_kafka_resp_err_t error) {
  switch (error) {
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR__TRANSPORT:
    case RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT:
    case RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART: return true;  // the last: not every broker knows a new one
    default: return false;
  }
}

// Puts the topic's cleanup.policy into `policy`. By itself librdkafka would ask the controller, whom nobody else needs.
rd_kafka_resp_err_t ask_cleanup_policy(rd_kafka_t* client, int32_t broker, const std::string& topic, int timeout_ms,
                                       std::string& policy) {
  const KafkaConfigResource resource(rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic.c_str()));
  const KafkaAdminOptions options(rd_kafka_AdminOptions_new(client, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS));
  char text[512];
  rd_kafka_AdminOptions_set_broker(options.get(), broker, text, sizeof text);
  rd_kafka_AdminOptions_set_request_timeout(options.get(), timeout_ms, text, sizeof text);
  const KafkaQueue queue(rd_kafka_queue_new(client));
  rd_kafka_ConfigResource_t* one = resource.get();
  rd_kafka_DescribeConfigs(client, &one, 1, options.get(), queue.get());
  const KafkaEvent event(rd_kafka_queue_poll(queue.get(), timeout_ms));
  if (event == nullptr) return RD_KAFKA_RESP_ERR__TIMED_OUT;
  if (const auto error = rd_kafka_event_error(event.get()); error != RD_KAFKA_RESP_ERR_NO_ERROR) return error;
  size_t count = 0;
  const auto* const result = rd_kafka_event_DescribeConfigs_result(event.get());
  const auto* const resources = rd_kafka_DescribeConfigs_result_resources(result, &count);
  if (count == 0) return RD_KAFKA_RESP_ERR__BAD_MSG;
  if (const auto error = rd_kafka_ConfigResource_error(resources[0]); error != RD_KAFKA_RESP_ERR_NO_ERROR) return error;
  const auto* const entries = rd_kafka_ConfigResource_configs(resources[0], &count);
  for (size_t index = 0; index < count; ++index) {
    const char* const value = rd_kafka_ConfigEntry_value(entries[index]);
    if (std::string_view(rd_kafka_ConfigEntry_name(entries[index])) == "cleanup.policy" && value != nullptr) {
      policy = value;
    }
  }
  return RD_KAFKA_RESP_ERR_NO_ERROR;
}

}  // namespace

Result<std::unique_ptr<KafkaHandle>> KafkaHandle::make(const KafkaOptions& options, KafkaWaker& waker) {
  auto ours = kOurs;
  ours["queued.max.messages.kbytes"] =
      std::to_string(std::clamp(kQueuedKb / std::max<size_t>(options.partitions, 1), kLeastQueuedKb, kMostQueuedKb));
  auto conf = make_kafka_conf(options, ours, kNeeded);
  if (!conf) return std::unexpected(conf.error());
  std::unique_ptr<KafkaHandle> handle(new KafkaHandle(options, waker));
  rd_kafka_conf_set_opaque(conf->get(), handle.get());
  rd_kafka_conf_set_error_cb(conf->get(), on_error);
  char text[512] = {};
  handle->client_ = rd_kafka_new(RD_KAFKA_CONSUMER, conf->get(), text, sizeof text);
  if (handle->client_ == nullptr) {
    return fail(ErrorCode::kInvalid,
                std::string("librdkafka does not start: ") + text + "; correct the Kafka settings");
  }
  conf->release();  // NOLINT: taken over by the client
  handle->main_queue_.reset(rd_kafka_queue_get_main(handle->client_));
  rd_kafka_queue_cb_event_enable(handle->main_queue_.get(), on_event, &waker);
  handle->topic_.reset(rd_kafka_topic_new(handle->client_, options.topic.c_str(), nullptr));
  if (handle->topic_ == nullptr) {
    return fail(ErrorCode::kInvalid, "'" + options.topic + "' is no name of a topic; correct --source");
  }
  return handle;
}

KafkaHandle::~KafkaHandle() {
  CHECK(partitions_.empty());
  topic_ = nullptr;
  if (main_queue_ != nullptr) rd_kafka_queue_cb_event_enable(main_queue_.get(), nullptr, nullptr);
  main_queue_ = nullptr;
  if (client_ != nullptr) rd_kafka_destroy_flags(client_, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
}

void KafkaHandle::on_error(rd_kafka_t*, int error, const char* reason, void* opaque) {
  auto* const self = static_cast<KafkaHandle*>(opaque);
  const auto code = static_cast<rd_kafka_resp_err_t>(error);
  if (kafka_error_code(code) == ErrorCode::kInvalid) self->lasting_error_ = code;
  if (code == RD_KAFKA_RESP_ERR__RESOLVE) self->unresolved_ = true;
  if (code != RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) return;
  self->away_ = true;
  self->why_away_ = reason;
}

void KafkaHandle::on_event(rd_kafka_t*, void* waker) {
  static_cast<KafkaWaker*>(waker)->wake();
}

Error KafkaHandle::explain(const std::string& what, rd_kafka_resp_err_t error) const {
  // A refused login, or a host that nobody knows, shows as a time-out; what was said before is the better answer.
  const bool hidden =
      kafka_error_code(error) == ErrorCode::kTimeout || kafka_error_code(error) == ErrorCode::kUnavailable;
  if (hidden && lasting_error_ != RD_KAFKA_RESP_ERR_NO_ERROR) return kafka_error(options_, what, lasting_error_);
  return kafka_error(options_, what, hidden && unresolved_ ? RD_KAFKA_RESP_ERR__RESOLVE : error);
}

// How long one describe() or find_time() goes on asking, all its questions together.
class KafkaHandle::Patience {
 public:
  Patience(Duration limit, const std::atomic<bool>& stopping) : limit_(limit), stopping_(stopping) {}

  // The time of one question. It grows, for brokers that are slow and not away.
  [[nodiscard]] int step_ms() const {
    const Duration passed = spent();
    return static_cast<int>(std::clamp<int64_t>(to_ms(limit_ - passed), 1, std::max(kStepMs, to_ms(passed))));
  }
  [[nodiscard]] bool allows_again(ErrorCode code) const {
    if (stopping_) return false;
    switch (code) {
      case ErrorCode::kUnavailable:
      case ErrorCode::kTimeout: return spent() < limit_;
      case ErrorCode::kNotFound: return spent() < std::min(limit_, kNewTopicTime);
      default: return false;
    }
  }

 private:
  using Clock = std::chrono::steady_clock;
  [[nodiscard]] Duration spent() const { return Clock::now() - begin_; }

  const Clock::time_point begin_ = Clock::now();
  const Duration limit_;
  const std::atomic<bool>& stopping_;
};

bool KafkaHandle::ask_again(rd_kafka_resp_err_t error, const Patience& patience) {
  poll();
  if (error == RD_KAFKA_RESP_ERR_NO_ERROR || lasting_error_ != RD_KAFKA_RESP_ERR_NO_ERROR) return false;
  if (!patience.allows_again(kafka_error_code(error))) return false;
  rd_kafka_poll(client_, kPauseMs);
  return true;
}

Result<LogDescription> KafkaHandle::describe(Duration timeout, const std::atomic<bool>& stopping) {
  const Patience patience(timeout, stopping);
  const auto topic = ask_topic(patience);
  if (!topic) return std::unexpected(topic.error());
  const auto begins = ask_offsets(*topic, RD_KAFKA_OFFSET_BEGINNING, patience);
  if (!begins) return std::unexpected(begins.error());
  const auto ends = ask_offsets(*topic, RD_KAFKA_OFFSET_END, patience);
  if (!ends) return std::unexpected(ends.error());
  LogDescription description;
  for (size_t index = 0; index < topic->partitions.size(); ++index) {
    description.partitions.push_back({topic->partitions[index], (*begins)[index], (*ends)[index], -1});
  }
  if (!unfit_) {
    if (Status asked = ask_what_makes_unfit(*topic, patience); !asked) return std::unexpected(asked.error());
  }
  description.unfit = *unfit_;
  return description;
}

Result<LogOffsets> KafkaHandle::find_time(int64_t time_ms, Duration timeout, const std::atomic<bool>& stopping) {
  const Patience patience(timeout, stopping);
  const auto topic = ask_topic(patience);
  if (!topic) return std::unexpected(topic.error());
  // The ends first: what is appended meanwhile is later than them.
  const auto ends = ask_offsets(*topic, RD_KAFKA_OFFSET_END, patience);
  if (!ends) return std::unexpected(ends.error());
  const auto found = ask_offsets(*topic, std::max<int64_t>(time_ms, 0), patience);
  if (!found) return std::unexpected(found.error());
  LogOffsets offsets;
  for (size_t index = 0; index < found->size(); ++index) {
    const bool none_so_late = (*found)[index].value() == RD_KAFKA_OFFSET_END;
    offsets[topic->partitions[index]] = none_so_late ? (*ends)[index] : (*found)[index];
  }
  return offsets;
}

Result<KafkaHandle::Topic> KafkaHandle::ask_topic(const Patience& patience) {
  lasting_error_ = RD_KAFKA_RESP_ERR_NO_ERROR;
  unresolved_ = false;
  RdKafkaMetadata metadata;
  rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR_NO_ERROR;
  do {
    const rd_kafka_metadata_t* found = nullptr;
    error = rd_kafka_metadata(client_, 0, topic_.get(), &found, patience.step_ms());
    metadata.reset(found);
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR) continue;
    error = metadata->topic_cnt == 1 ? metadata->topics[0].err : RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC;
  } while (ask_again(error, patience));
  if (error != RD_KAFKA_RESP_ERR_NO_ERROR) return std::unexpected(explain("cannot ask for", error));
  heard();
  const rd_kafka_metadata_topic& found = metadata->topics[0];
  Topic topic;
  for (int index = 0; index < found.partition_cnt; ++index) topic.partitions.emplace_back(found.partitions[index].id);
  if (found.partition_cnt > 0) topic.a_leader = found.partitions[0].leader;
  std::ranges::sort(topic.partitions);
  return topic;
}

// The first offsets of a time, which is -1 where there is none so late, or of one of the protocol's names for the begin
// and the end. Of all partitions at once: one request to each leader, so that one that is away costs the time of one
// question.
Result<std::vector<Offset>> KafkaHandle::ask_offsets(const Topic& topic, int64_t which, const Patience& patience) {
  KafkaPartitionList list;
  rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR_NO_ERROR;
  do {
    list.reset(rd_kafka_topic_partition_list_new(static_cast<int>(topic.partitions.size())));
    for (const LogPartition partition : topic.partitions) {
      rd_kafka_topic_partition_list_add(list.get(), options_.topic.c_str(), partition.value())->offset = which;
    }
    error = rd_kafka_offsets_for_times(client_, list.get(), patience.step_ms());
    for (int index = 0; index < list->cnt && error == RD_KAFKA_RESP_ERR_NO_ERROR; ++index) {
      const rd_kafka_topic_partition_t& answer = list->elems[index];
      const bool none_so_late = which >= 0 && answer.offset == RD_KAFKA_OFFSET_END;
      error = answer.err == RD_KAFKA_RESP_ERR_NO_ERROR && answer.offset < 0 && !none_so_late
                  ? RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE
                  : answer.err;
    }
  } while (ask_again(error, patience));
  if (error != RD_KAFKA_RESP_ERR_NO_ERROR) return std::unexpected(explain("cannot ask for the offsets of", error));
  std::vector<Offset> offsets;
  for (const LogPartition partition : topic.partitions) {
    const auto* const found = rd_kafka_topic_partition_list_find(list.get(), options_.topic.c_str(), partition.value());
    CHECK(found != nullptr);
    offsets.emplace_back(found->offset);
  }
  return offsets;
}

// Compaction drops records within the log, so that a replay would not give what was counted. Brokers may refuse to
// tell: that hinders nobody.
Status KafkaHandle::ask_what_makes_unfit(const Topic& topic, const Patience& patience) {
  const std::string place = "topic '" + options_.topic + "' on " + options_.brokers;
  std::string policy;
  rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR_NO_ERROR;
  do {
    error = ask_cleanup_policy(client_, topic.a_leader, options_.topic, patience.step_ms(), policy);
  } while (may_pass(error) && ask_again(error, patience));
  if (may_pass(error)) {
    return fail(ErrorCode::kUnavailable,
                "cannot ask whether " + place + " is compacted: " + rd_kafka_err2str(error) + "; try again");
  }
  if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
    LOG(WARNING) << "cannot ask whether " << place << " is compacted: " << rd_kafka_err2str(error)
                 << "; taken for one that is not. Permit DescribeConfigs on it to have that checked";
  }
  unfit_ = "";
  if (policy.find("compact") != std::string::npos) {
    unfit_ = place + " is compacted (cleanup.policy=" + policy +
             "): its records do not stay, and a replay would count differently; set cleanup.policy=delete, or name "
             "another topic in --source";
  }
  return {};
}

void KafkaHandle::probe() {
  if (!away_) return;
  const rd_kafka_metadata_t* found = nullptr;
  const rd_kafka_resp_err_t error = rd_kafka_metadata(client_, 0, topic_.get(), &found, kProbeMs);
  const RdKafkaMetadata metadata(found);
  if (error == RD_KAFKA_RESP_ERR_NO_ERROR) heard();
}

Result<KafkaQueue> KafkaHandle::start(LogPartition partition, Offset from) {
  KafkaQueue queue(rd_kafka_queue_new(client_));
  rd_kafka_queue_cb_event_enable(queue.get(), on_event, &waker_);
  if (rd_kafka_consume_start_queue(topic_.get(), partition.value(), from.value(), queue.get()) != 0) {
    return std::unexpected(explain("cannot read", rd_kafka_last_error()));
  }
  CHECK(partitions_.insert(partition).second);
  return queue;
}

void KafkaHandle::stop(LogPartition partition) {
  rd_kafka_consume_stop(topic_.get(), partition.value());
  partitions_.erase(partition);
}

}  // namespace millrace
