// append: lines of standard input into the embedded log (by the Ingest service) or into a Kafka topic.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>

#include "client/connection.h"
#include "client/line_reader.h"
#include "client/options.h"
#include "client/output.h"
#include "common/model/address.h"

namespace millrace::client {
namespace {

constexpr char kRetryFor[] = "2m";  // by default, for what is under way

struct AppendArguments {
  std::string uri;
  int32_t partitions = 4;
  std::string retry_for;  // empty: not given
  std::string kafka_config;
};

// Appends to a log of the master. Each append is numbered, so that one whose answer was lost, even by a restart of
// the master, can be repeated and is stored once.
class LogAppender : public Appender {
 public:
  static constexpr size_t kSmallSlice = 100;  // fewer lines are not worth a partition of their own

  LogAppender(Connection& connection, std::string log, int32_t partitions, std::chrono::milliseconds retry_for,
              const InterruptBlock& interrupts)
      : connection_(connection),
        log_(std::move(log)),
        retry_for_(retry_for),
        interrupts_(interrupts),
        sequences_(partitions) {
    std::random_device random;
    producer_id_ = static_cast<int64_t>((uint64_t{random()} << 32 | random()) >> 1 | 1);
  }

  // A full group goes into the next partition; a small one is spread, so that all partitions get a share.
  Status append(std::vector<std::string> records) override {
    const size_t slices = std::clamp<size_t>(records.size() / kSmallSlice, 1, spread_ ? sequences_.size() : 1);
    for (size_t slice = 0; slice < slices; ++slice) {
      const auto begin = records.begin() + static_cast<ptrdiff_t>(records.size() * slice / slices);
      const auto end = records.begin() + static_cast<ptrdiff_t>(records.size() * (slice + 1) / slices);
      const std::vector<std::string> part(std::make_move_iterator(begin), std::make_move_iterator(end));
      if (const Status stored = store(part); !stored) return stored;
    }
    return {};
  }
  void spread(bool wanted) { spread_ = wanted; }

  Status finish() override { return {}; }  // each append was waited for
  [[nodiscard]] int64_t durable() const override { return durable_; }

 private:
  Status store(const std::vector<std::string>& records) {
    const auto partition = static_cast<int32_t>(next_);
    next_ = (next_ + 1) % sequences_.size();
    const int64_t sequence = ++sequences_[partition];
    const auto begin = std::chrono::steady_clock::now();
    for (int pause_ms = 20;; pause_ms = std::min(2 * pause_ms, 500)) {
      const auto stored = connection_.call<api::AppendResult>([&](auto& services, auto& answer) {
        services.ingest.append(answer, log_, partition, records, producer_id_, sequence, {});
      });
      if (stored) {
        durable_ += static_cast<int64_t>(records.size());
        return {};
      }
      const ErrorCode code = stored.error().code;
      const bool passes = code == ErrorCode::kUnavailable || code == ErrorCode::kTimeout;
      const bool late = std::chrono::steady_clock::now() - begin > retry_for_;
      if (!passes || late || interrupts_.pause(pause_ms)) return std::unexpected(stored.error());
    }
  }

  Connection& connection_;  // outlives this
  const std::string log_;
  const std::chrono::milliseconds retry_for_;
  const InterruptBlock& interrupts_;
  int64_t producer_id_ = 0;
  std::vector<int64_t> sequences_;  // by partition: of the newest append
  size_t next_ = 0;                 // partition
  bool spread_ = false;
  int64_t durable_ = 0;
};

Status copy_lines(LineReader& reader, Appender& appender, LogAppender* log) {
  while (true) {
    auto group = reader.next();
    if (!group) return std::unexpected(group.error());
    if (log != nullptr) log->spread(!group->full);
    if (!group->lines.empty()) {
      const std::vector<std::string> records(group->lines.begin(), group->lines.end());
      if (const Status taken = appender.append(records); !taken) return taken;
    }
    if (group->end) return appender.finish();
  }
}

Status report(const Session& session, const AppendArguments& arguments, const Appender& appender, Status copied) {
  const int64_t durable = appender.durable();
  if (!copied) {
    Error error = copied.error();
    error.message += "; " + counted(durable, "records") + (durable == 1 ? " was" : " were") + " made durable before";
    return std::unexpected(std::move(error));
  }
  const std::string target = parse_uri(arguments.uri)->masked();
  if (session.json) {
    print_json(session.output(), {{"appended", durable}, {"to", target}});
  } else {
    session.out << counted(durable, "records") << " made durable in " << target << "\n";
  }
  return {};
}

// Interrupts end the input from when the log is open on; until then they end the process.
Status append_to_log(Session& session, const AppendArguments& arguments, const std::string& log,
                     std::chrono::milliseconds retry_for) {
  Connection connection(session);
  const auto opened = connection.call<int32_t>(
      [&](auto& services, int32_t& answer) { answer = services.ingest.open_log(log, arguments.partitions); });
  if (!opened) return std::unexpected(opened.error());
  if (*opened < 1) return fail(ErrorCode::kInternal, "the master says that log '" + log + "' has no partition");
  const InterruptBlock interrupts;
  LineReader reader(session.input, interrupts.mask_while_waiting());
  LogAppender appender(connection, log, *opened, retry_for, interrupts);
  return report(session, arguments, appender, copy_lines(reader, appender, &appender));
}

Status append(Session& session, const AppendArguments& arguments) {
  const Uri uri = parse_uri(arguments.uri).value();
  std::chrono::milliseconds retry_for(parse_duration_ms(kRetryFor).value());
  if (!arguments.retry_for.empty()) {
    // Whoever asks for patience means the beginning, too.
    retry_for = session.wait = std::chrono::milliseconds(parse_duration_ms(arguments.retry_for).value());
  }
  if (uri.scheme == "log") return append_to_log(session, arguments, uri.authority, retry_for);
  if (!session.open_kafka) return fail(ErrorCode::kInvalid, "this program cannot append to Kafka; use log://NAME");
  std::map<std::string, std::string> config;
  if (!arguments.kafka_config.empty()) {
    auto read = read_config_file("--kafka-config", arguments.kafka_config);
    if (!read) return std::unexpected(read.error());
    config = std::move(*read);
  }
  auto appender = session.open_kafka({arguments.uri, std::move(config), session.wait, retry_for});
  const InterruptBlock interrupts;
  LineReader reader(session.input, interrupts.mask_while_waiting());
  if (!appender) return std::unexpected(appender.error());
  return report(session, arguments, **appender, copy_lines(reader, **appender, nullptr));
}

constexpr char kTargets[] = "log://NAME or kafka://HOST:PORT[,HOST:PORT]/TOPIC";

std::string check_target(const std::string& text) {
  const auto uri = parse_uri(text, kTargets);
  if (!uri) return uri.error().message;
  if (uri->scheme == "log" && uri->path.empty()) return problem_of(check_name("the log name", uri->authority));
  if (uri->scheme == "kafka" && uri->path.find(',') != std::string::npos) {
    return "records are appended to one topic; '" + uri->path + "' names several";
  }
  if (uri->scheme == "kafka" && !uri->path.empty()) {
    std::istringstream brokers(uri->authority);
    for (std::string broker; std::getline(brokers, broker, ',');) {
      if (const auto address = parse_address("the broker", broker); !address) return address.error().message;
    }
    return "";
  }
  return "'" + uri->masked() + "' is not what it can be; expected " + kTargets;
}

}  // namespace

void add_append_command(CLI::App& app, Session& session) {
  const auto [command, arguments] = add_command<AppendArguments>(
      app, session, "append", "Append the lines of standard input to a log, each as a record",
      "  millrace append log://lines < book.txt\n"
      "  tail -F access.log | millrace append log://access --partitions 8\n"
      "  millrace append kafka://127.0.0.1:9092/lines --kafka-config client.properties < book.txt",
      append);
  command->add_option("URI", arguments->uri, "log://NAME or kafka://HOST:PORT[,HOST:PORT]/TOPIC")
      ->required()
      ->check(check_target);
  command->add_option("--partitions", arguments->partitions, "Of a log that is not there yet")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  command->add_option("--retry-for", arguments->retry_for, "How long to wait for a master, or for Kafka, that is away")
      ->check(check_duration)
      ->default_str("--wait at the start, then " + std::string(kRetryFor));
  command->add_option("--kafka-config", arguments->kafka_config, "File of librdkafka settings, key=value lines")
      ->check([](const std::string& path) {
        const auto read = read_config_file("--kafka-config", path);
        return read ? "" : read.error().message;
      });
}

}  // namespace millrace::client
