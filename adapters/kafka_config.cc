#include "adapters/kafka_config.h"

#include <set>

#include "common/base/check.h"

namespace millrace {
namespace {

constexpr int kSyslogError = 3;
constexpr int kSyslogWarning = 4;

// Set by the adapters for correctness, or dangerous in what a client of the API sends: libraries and a command are
// code.
const std::set<std::string> kReserved = {"auto.offset.reset",    "bootstrap.servers",      "enable.auto.commit",
                                         "enable.partition.eof", "metadata.broker.list",   "plugin.library.paths",
                                         "ssl.engine.location",  "sasl.kerberos.kinit.cmd"};

void write_log(const rd_kafka_t*, int level, const char* facility, const char* text) {
  if (level <= kSyslogError) {
    LOG(WARNING) << "librdkafka " << facility << ": " << text;
  } else if (level == kSyslogWarning) {
    LOG(INFO) << "librdkafka " << facility << ": " << text;
  } else {
    VLOG(1) << "librdkafka " << facility << ": " << text;
  }
}

Status set_one(rd_kafka_conf_t* conf, const std::string& name, const std::string& value) {
  char text[512];
  switch (rd_kafka_conf_set(conf, name.c_str(), value.c_str(), text, sizeof text)) {
    case RD_KAFKA_CONF_OK: return {};
    case RD_KAFKA_CONF_UNKNOWN:
      return fail(ErrorCode::kInvalid, "librdkafka knows no setting '" + name + "'; correct the Kafka configuration");
    default:
      // librdkafka's text may repeat the value, which may be a secret.
      return fail(ErrorCode::kInvalid, "librdkafka does not take the value given for the setting '" + name +
                                           "'; correct the Kafka configuration");
  }
}

}  // namespace

Result<KafkaConf> make_kafka_conf(const KafkaOptions& options, const std::map<std::string, std::string>& ours,
                                  const std::map<std::string, std::string>& needed) {
  KafkaConf conf(rd_kafka_conf_new());
  rd_kafka_conf_set_log_cb(conf.get(), write_log);
  for (const auto& [name, value] : ours) {
    if (Status set = set_one(conf.get(), name, value); !set) return std::unexpected(set.error());
  }
  for (const auto& [name, value] : options.config) {
    if (name == kKafkaReaderSetting) continue;
    if (kReserved.contains(name)) {
      return fail(ErrorCode::kInvalid, "the librdkafka setting '" + name + "' is not yours to set; remove it");
    }
    if (Status set = set_one(conf.get(), name, value); !set) return std::unexpected(set.error());
  }
  for (const auto& [name, value] : needed) {
    if (Status set = set_one(conf.get(), name, value); !set) return std::unexpected(set.error());
  }
  if (Status set = set_one(conf.get(), "bootstrap.servers", options.brokers); !set) return std::unexpected(set.error());
  return conf;
}

Result<KafkaClient> make_kafka_client(rd_kafka_type_t type, KafkaConf conf) {
  char text[512] = {};
  KafkaClient client(rd_kafka_new(type, conf.get(), text, sizeof text));
  if (client == nullptr) {
    return fail(ErrorCode::kInvalid,
                std::string("librdkafka does not start: ") + text + "; correct the Kafka settings");
  }
  conf.release();  // NOLINT: taken over by the client
  return client;
}

Status check_kafka_options(const KafkaOptions& options) {
  if (options.brokers.empty() || options.topic.empty()) {
    return fail(ErrorCode::kInvalid,
                options.option + ": Kafka needs brokers and a topic: kafka://HOST:PORT[,HOST:PORT]/TOPIC");
  }
  const auto conf = make_kafka_conf(options, {}, {});
  if (!conf) return std::unexpected(conf.error());
  return {};
}

ErrorCode kafka_error_code(rd_kafka_resp_err_t error) {
  switch (error) {
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION: return ErrorCode::kNotFound;
    case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET: return ErrorCode::kDataLost;
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
    case RD_KAFKA_RESP_ERR__SSL:
    case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_SASL_MECHANISM:
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
    case RD_KAFKA_RESP_ERR__INVALID_ARG: return ErrorCode::kInvalid;
    case RD_KAFKA_RESP_ERR__BAD_MSG:
    case RD_KAFKA_RESP_ERR_INVALID_MSG:
    case RD_KAFKA_RESP_ERR__BAD_COMPRESSION: return ErrorCode::kCorrupt;
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR__MSG_TIMED_OUT: return ErrorCode::kTimeout;
    default: return ErrorCode::kUnavailable;
  }
}

Error kafka_error(const KafkaOptions& options, const std::string& what, rd_kafka_resp_err_t error) {
  const ErrorCode code = kafka_error_code(error);
  const std::string place = "topic '" + options.topic + "' on " + options.brokers;
  switch (code) {
    case ErrorCode::kNotFound: return {code, place + " does not exist; create it or correct " + options.option};
    case ErrorCode::kUnavailable:
    case ErrorCode::kTimeout:
      if (error == RD_KAFKA_RESP_ERR__RESOLVE) {
        return {code, what + " " + place + ": a host name there is not known to this machine; correct it in " +
                          options.option};
      }
      return {code, what + " " + place + ": " + rd_kafka_err2str(error) + "; check that the broker runs there"};
    default: return {code, what + " " + place + ": " + rd_kafka_err2str(error)};
  }
}

}  // namespace millrace
