#include "adapters/api_checks.h"

#include <limits>

#include "common/model/uri.h"

namespace millrace {
namespace {

constexpr int64_t kAnyAmount = std::numeric_limits<int64_t>::max();
constexpr size_t kMaxKeys = 100'000;
constexpr int64_t kMaxKeyBytes = 4 << 20;                   // of one query: its answer repeats them
constexpr int64_t kMaxCursorBytes = 3 * kMaxKeyBytes + 32;  // a member percent-encoded, behind its count

Status check_number(const std::string& what, int64_t value, int64_t lowest, int64_t highest) {
  if (value >= lowest && value <= highest) return {};
  const std::string range = highest == kAnyAmount ? "at least " + std::to_string(lowest)
                                                  : std::to_string(lowest) + " to " + std::to_string(highest);
  return fail(ErrorCode::kInvalid, what + " is " + std::to_string(value) + "; it must be " + range);
}

// Of those that a job publishes; empty: none is named.
Status check_table(const std::string& table) {
  return table.empty() ? Status() : check_name("the name of a table", table);
}

// The first failure of several checks.
template <typename... Checks>
Status first_failure(Checks&&... checks) {
  Status result;
  ((result = checks(), result.has_value()) && ...);
  return result;
}

}  // namespace

Status check_get(const std::string& name, const std::vector<std::string>& keys, int64_t at_least,
                 const std::string& table) {
  return first_failure(
      [&] { return check_name("the job name", name); }, [&] { return check_table(table); },
      [&] { return check_number("the number of keys", static_cast<int64_t>(keys.size()), 1, kMaxKeys); },
      [&] {
        int64_t bytes = 0;
        for (const std::string& key : keys) bytes += static_cast<int64_t>(key.size());
        return check_number("the length of all keys in bytes", bytes, 0, kMaxKeyBytes);
      },
      [&] { return check_number("at_least", at_least, 0, kAnyAmount); });
}

Status check_top(const std::string& name, int32_t n, int64_t at_least, const std::string& table) {
  return first_failure([&] { return check_name("the job name", name); }, [&] { return check_table(table); },
                       [&] { return check_number("n", n, 1, 1000); },
                       [&] { return check_number("at_least", at_least, 0, kAnyAmount); });
}

Status check_changes(const api::ChangesRequest& request) {
  return first_failure([&] { return check_name("the job name", request.name); },
                       [&] { return check_table(request.table); },
                       [&] { return check_number("after.incarnation", request.after.incarnation, 0, kAnyAmount); },
                       [&] { return check_number("after.batch", request.after.batch, 0, kAnyAmount); },
                       [&] { return check_number("wait_ms", request.wait_ms, 0, 30'000); });
}

Status check_docs(const api::DocsRequest& request) {
  return first_failure(
      [&] { return check_name("the job name", request.name); }, [&] { return check_table(request.table); },
      [&] { return check_number("the length of the key in bytes", std::ssize(request.key), 0, kMaxKeyBytes); },
      [&] { return check_number("the length of `after` in bytes", std::ssize(request.after), 0, kMaxCursorBytes); },
      [&] { return check_number("limit", request.limit, 1, 1000); },
      [&] { return check_number("at_least", request.at_least, 0, kAnyAmount); });
}

Status check_search(const api::SearchRequest& request) {
  return first_failure(
      [&] { return check_name("the job name", request.name); }, [&] { return check_table(request.table); },
      [&] { return check_number("the length of the prefix in bytes", std::ssize(request.prefix), 0, kMaxKeyBytes); },
      [&] { return check_number("the length of `after` in bytes", std::ssize(request.after), 0, kMaxCursorBytes); },
      [&] { return check_number("limit", request.limit, 1, 1000); });
}

Status check_totals(const std::string& name, const std::string& table) {
  return first_failure([&] { return check_name("the job name", name); }, [&] { return check_table(table); });
}

Status check_batches(const std::string& name, int32_t n, int64_t before) {
  return first_failure([&] { return check_name("the job name", name); }, [&] { return check_number("n", n, 1, 600); },
                       [&] { return check_number("before", before, 0, kAnyAmount); });
}

Status check_resume_from(const std::string& name, int64_t batch) {
  return first_failure([&] { return check_name("the job name", name); },
                       [&] { return check_number("the checkpoint's batch", batch, 1, kAnyAmount); });
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
