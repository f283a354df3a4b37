#include "jobs/two_sum.h"

#include <cstring>
#include <limits>
#include <utility>

#include "stream/keyed_job.h"
#include "stream/text.h"
#include "stream/varint.h"

namespace millrace {
namespace {

struct TwoSumFunction {
  TextSplitter splitter;

  template <typename Emit>
  RecordProblem operator()(const InputRecord& record, Emit& emit);
};

// Encoded: the count as a varint, the sum as 8 bytes, little-endian. The count stays at the largest int64 once it is
// there; the sum wraps.
struct TwoSum {
  struct Value {
    int64_t count;
    uint64_t sum;
  };

  static void merge(Value& into, const Value& from) {
    if (__builtin_add_overflow(into.count, from.count, &into.count)) [[unlikely]] {
      into.count = std::numeric_limits<int64_t>::max();
    }
    into.sum += from.sum;
  }
  static size_t encoded_size(const Value& value) {
    return varint_size(static_cast<uint64_t>(value.count)) + sizeof(value.sum);
  }
  static char* encode(char* at, const Value& value) {
    at = put_varint(at, static_cast<uint64_t>(value.count));
    std::memcpy(at, &value.sum, sizeof(value.sum));
    return at + sizeof(value.sum);
  }
  static bool decode(const char*& at, const char* end, Value& value) {
    uint64_t count = 0;
    if (!get_varint(at, end, count) || count > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return false;
    if (end - at < static_cast<ptrdiff_t>(sizeof(value.sum))) return false;
    value.count = static_cast<int64_t>(count);
    std::memcpy(&value.sum, at, sizeof(value.sum));
    at += sizeof(value.sum);
    return true;
  }
  static std::string text(const Value& value) { return std::to_string(value.count) + " " + std::to_string(value.sum); }
  static double score(const Value& value) { return static_cast<double>(value.count); }
  [[nodiscard]] TwoSumFunction make_function() const { return {TextSplitter()}; }
};

template <typename Emit>
RecordProblem TwoSumFunction::operator()(const InputRecord& record, Emit& emit) {
  uint64_t position = 0;
  const auto invalid = splitter.split(record.value, [&](std::string_view word) {
    emit(word, TwoSum::Value{1, two_sum_hash(record.partition, record.offset, position++)});
  });
  if (invalid) [[unlikely]]
    return "not valid UTF-8 at byte " + std::to_string(*invalid);
  return std::nullopt;
}

}  // namespace

uint64_t two_sum_hash(LogPartition partition, Offset offset, uint64_t position) {
  uint64_t hash = static_cast<uint64_t>(partition.value()) * 0x9E3779B97F4A7C15 +
                  static_cast<uint64_t>(offset.value()) * 0xBF58476D1CE4E5B9 + position * 0x94D049BB133111EB;
  hash = (hash ^ (hash >> 30)) * 0xBF58476D1CE4E5B9;
  hash = (hash ^ (hash >> 27)) * 0x94D049BB133111EB;
  return hash ^ (hash >> 31);
}

std::vector<JobSetting> two_sum_settings() {
  return {};
}

Result<std::shared_ptr<const Job>> make_two_sum(const JobContext& context) {
  SinkLayout layout;
  layout.values = "sums";
  return std::make_shared<KeyedJob<TwoSum>>(TwoSum{}, layout, 0, context);
}

}  // namespace millrace
