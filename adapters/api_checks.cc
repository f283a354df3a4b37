#include "adapters/api_checks.h"

#include <limits>
#include <map>

#include "common/model/uri.h"

namespace millrace {
namespace {

constexpr int64_t kAnyAmount = std::numeric_limits<int64_t>::max();
constexpr size_t kMaxSettings = 1000;
constexpr size_t kMaxKeys = 100'000;
constexpr int64_t kMaxKeyBytes = 4 << 20;  // of one query: its answer repeats them

Status check_number(const std::string& what, int64_t value, int64_t lowest, int64_t highest) {
  if (value >= lowest && value <= highest) return {};
  const std::string range = highest == kAnyAmount ? "at least " + std::to_string(lowest)
                                                  : std::to_string(lowest) + " to " + std::to_string(highest);
  return fail(ErrorCode::kInvalid, what + " is " + std::to_string(value) + "; it must be " + range);
}

Status check_settings(const std::string& what, const std::map<std::string, std::string>& settings) {
  if (settings.size() > kMaxSettings) {
    return fail(ErrorCode::kInvalid, "there are " + std::to_string(settings.size()) + " " + what + "; at most " +
                                         std::to_string(kMaxSettings) + " are allowed");
  }
  if (settings.contains("")) return fail(ErrorCode::kInvalid, "one of the " + what + " has no name");
  return {};
}

Status check_uri(const std::string& what, const std::string& text) {
  const auto uri = parse_uri(text);
  if (!uri) return fail(ErrorCode::kInvalid, what + ": " + uri.error().message);
  return {};
}

// The first failure of several checks.
template <typename... Checks>
Status first_failure(Checks&&... checks) {
  Status result;
  ((result = checks(), result.has_value()) && ...);
  return result;
}

}  // namespace

Status check_submit(const api::SubmitRequest& request) {
  return first_failure(
      [&] { return check_name("the job name", request.name); },
      [&] { return check_name("the job type", request.type); }, [&] { return check_uri("the source", request.source); },
      [&] { return check_uri("the sink", request.sink); },
      [&] { return check_number("the batch interval in ms", request.batch_interval_ms, 1, 3'600'000); },
      [&] { return check_number("the checkpoint interval in ms", request.checkpoint_interval_ms, 1, 86'400'000); },
      [&]() -> Status {
        if (request.start == "earliest" || request.start == "latest") return {};
        return fail(ErrorCode::kInvalid,
                    "the start is '" + request.start.substr(0, 40) + "'; it must be earliest or latest");
      },
      [&] { return check_settings("settings", request.settings); },
      [&] { return check_settings("Kafka settings", request.source_config); },
      [&] { return check_settings("settings of the sink", request.sink_config); },
      [&] { return check_number("the longest record in bytes", request.max_record_bytes, 1, 1 << 30); },
      [&] { return check_number("the number of state partitions", request.state_partitions, 1, 4096); });
}

Status check_get(const std::string& name, const std::vector<std::string>& keys, int64_t at_least) {
  return first_failure(
      [&] { return check_name("the job name", name); },
      [&] { return check_number("the number of keys", static_cast<int64_t>(keys.size()), 1, kMaxKeys); },
      [&] {
        int64_t bytes = 0;
        for (const std::string& key : keys) bytes += static_cast<int64_t>(key.size());
        return check_number("the length of all keys in bytes", bytes, 0, kMaxKeyBytes);
      },
      [&] { return check_number("at_least", at_least, 0, kAnyAmount); });
}

Status check_top(const std::string& name, int32_t n, int64_t at_least) {
  return first_failure([&] { return check_name("the job name", name); }, [&] { return check_number("n", n, 1, 1000); },
                       [&] { return check_number("at_least", at_least, 0, kAnyAmount); });
}

Status check_dead_letters(const std::string& name, int32_t limit, int32_t from_partition, int64_t from_offset) {
  return first_failure([&] { return check_name("the job name", name); },
                       [&] { return check_number("the limit", limit, 1, 10'000); },
                       [&] { return check_number("the first partition", from_partition, 0, kAnyAmount); },
                       [&] { return check_number("the first offset", from_offset, 0, kAnyAmount); });
}

Status check_open_log(const std::string& log, int32_t partitions) {
  return first_failure([&] { return check_name("the log name", log); },
                       [&] { return check_number("the number of partitions", partitions, 1, 1024); });
}

Status check_append(const std::string& log, int32_t partition, const std::vector<std::string>& records,
                    int64_t producer_id, int64_t sequence) {
  return first_failure(
      [&] { return check_name("the log name", log); },
      [&] { return check_number("the partition", partition, 0, kAnyAmount); },
      [&] { return check_number("the number of records", static_cast<int64_t>(records.size()), 1, 100'000); },
      [&] { return check_number("the producer id", producer_id, 0, kAnyAmount); },
      [&] { return check_number("the sequence", sequence, producer_id == 0 ? 0 : 1, kAnyAmount); });
}

}  // namespace millrace
