#include "adapters/kafka_reader_choice.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <utility>

#include "adapters/direct_kafka_log.h"
#include "adapters/kafka_log.h"
#include "common/base/check.h"

namespace millrace {
namespace {

constexpr char kUsualPort[] = ":9092";

// Settings of librdkafka that say how it does its work, or how others do theirs. Of all the others each is honoured, or
// the source is read by librdkafka.
// clang-format off
const std::set<std::string, std::less<>> kOfNoConcern = {
    "acks", "batch.num.messages", "batch.size", "check.crcs", "compression.codec", "compression.level",
    "compression.type", "connections.max.idle.ms", "debug", "delivery.timeout.ms", "enable.idempotence",
    "enable.sparse.connections", "fetch.error.backoff.ms", "fetch.max.bytes", "fetch.message.max.bytes",
    "fetch.min.bytes", "fetch.queue.backoff.ms", "fetch.wait.max.ms", "group.id", "linger.ms", "log.connection.close",
    "log_level", "max.in.flight", "max.in.flight.requests.per.connection", "max.partition.fetch.bytes",
    "message.max.bytes", "message.timeout.ms", "metadata.max.age.ms", "partitioner", "queue.buffering.max.kbytes",
    "queue.buffering.max.messages", "queue.buffering.max.ms", "queued.max.messages.kbytes", "queued.min.messages",
    "reconnect.backoff.max.ms", "reconnect.backoff.ms", "request.required.acks", "request.timeout.ms", "retries",
    "retry.backoff.ms", "socket.send.buffer.bytes", "statistics.interval.ms", "topic.metadata.refresh.interval.ms",
    "transaction.timeout.ms", "transactional.id"};
// clang-format on

std::optional<int> number(const std::string& text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// False: not so.
bool honour(const std::string& name, const std::string& value, KafkaReaderSettings& settings) {
  if (kOfNoConcern.contains(name)) return true;
  if (name == "security.protocol") return value == "plaintext" || value == "PLAINTEXT";
  if (name == "client.id") {
    settings.client_id = value;
    return value.size() <= INT16_MAX;
  }
  if (name == "isolation.level") {
    settings.committed = value == "read_committed";
    return settings.committed || value == "read_uncommitted";
  }
  if (name == "socket.keepalive.enable") {
    settings.connection.keepalive = value == "true";
    return settings.connection.keepalive || value == "false";
  }
  const auto figure = number(value);
  if (!figure || *figure < 0) return false;
  if (name == "receive.message.max.bytes") {
    settings.most_answer_bytes = static_cast<size_t>(*figure);
  } else if (name == "socket.receive.buffer.bytes") {
    settings.connection.receive_buffer_bytes = *figure;
  } else if (name == "socket.timeout.ms") {
    settings.timing.silence = std::chrono::milliseconds(*figure);
  } else if (name == "socket.connection.setup.timeout.ms") {
    settings.timing.connecting = std::chrono::milliseconds(*figure);
  } else if (name == "topic.metadata.propagation.max.ms") {
    settings.timing.topic_may_be_away = std::chrono::milliseconds(*figure);
  } else {
    return false;
  }
  return true;
}

// [PLAINTEXT://]HOST[:PORT], blanks around it; an IPv6 address is in brackets.
std::optional<HostPort> broker_of(std::string text) {
  constexpr std::string_view kPlain = "PLAINTEXT://";
  std::erase(text, ' ');
  if (text.starts_with(kPlain)) text.erase(0, kPlain.size());
  const bool has_port =
      text.find(':', text.find(']') + 1) != std::string::npos;  // where there is no ']': from the begin
  const auto broker = parse_address("broker", has_port ? text : text + kUsualPort);
  return broker && broker->port > 0 ? std::optional(*broker) : std::nullopt;
}

}  // namespace

Result<KafkaReaderSettings> direct_reader_settings(const KafkaOptions& options, const DirectKafkaTiming& timing) {
  KafkaReaderSettings settings;
  settings.timing = timing;
  settings.topic_id = KafkaTopicId::from_hex(options.topic_id);
  settings.topic = options.topic;
  settings.brokers = options.brokers;
  for (size_t begin = 0; begin <= options.brokers.size();) {
    const size_t comma = std::min(options.brokers.find(',', begin), options.brokers.size());
    const std::string one = options.brokers.substr(begin, comma - begin);
    begin = comma + 1;
    if (one.empty()) continue;
    const auto broker = broker_of(one);
    if (!broker) return fail(ErrorCode::kInvalid, "'" + one + "' is no HOST:PORT of a broker without encryption");
    settings.bootstrap.push_back(*broker);
  }
  if (settings.bootstrap.empty()) return fail(ErrorCode::kInvalid, "no broker is named");
  for (const auto& [name, value] : options.config) {
    if (name != kKafkaReaderSetting && !honour(name, value, settings)) {
      return fail(ErrorCode::kInvalid, "a direct reader does not do what the setting '" + name + "' says");
    }
  }
  return settings;
}

Result<std::unique_ptr<Log>> open_kafka_log(KafkaOptions options, TaskLoop& loop) {
  const auto named = options.config.extract(kKafkaReaderSetting);
  const std::string choice = named.empty() ? "auto" : named.mapped();
  if (choice != "auto" && choice != "direct" && choice != "librdkafka") {
    return fail(ErrorCode::kInvalid,
                "'" + choice + "' is no value of " + kKafkaReaderSetting + "; it is auto, direct or librdkafka");
  }
  if (choice == "librdkafka") return KafkaLog::make(std::move(options), loop);
  if (Status valid = check_kafka_options(options); !valid) return std::unexpected(valid.error());
  auto direct = direct_reader_settings(options);
  if (direct) return std::make_unique<DirectKafkaLog>(std::move(options), std::move(*direct), loop);
  if (choice == "direct") {
    return fail(ErrorCode::kInvalid, std::string(kKafkaReaderSetting) + "=direct cannot be: " + direct.error().message);
  }
  LOG(INFO) << "topic '" << options.topic << "' is read by librdkafka: " << direct.error().message;
  return KafkaLog::make(std::move(options), loop);
}

}  // namespace millrace
