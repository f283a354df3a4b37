#include "jobs/two_sum.h"

#include "millrace/job.h"

namespace millrace {
namespace {

// Encoded: the count as a varint, the sum as one. The count stays at the largest int64 once it is there; the sum wraps.
struct TwoSum {
  int64_t count;
  uint64_t sum;
  MILLRACE_FIELDS(TwoSum, count, sum)

  [[nodiscard]] std::string text() const { return std::to_string(count) + " " + std::to_string(sum); }
  [[nodiscard]] double score() const { return static_cast<double>(count); }
};

struct MergeTwoSums {
  void operator()(TwoSum& into, const TwoSum& from) const {
    SaturatingSum{}(into.count, from.count);
    into.sum += from.sum;
  }
};

struct SumWords {
  using Output = std::pair<std::string_view, TwoSum>;
  static constexpr bool kRefusesFirst = true;

  template <typename Emit>
  RecordProblem operator()(const Record& record, Emit& emit) const
      noexcept(std::is_nothrow_invocable_v<Emit&, Output>) {
    uint64_t position = 0;
    const auto sum = [&](std::string_view word) {
      emit(Output(word, {1, two_sum_hash(record.partition, record.offset, position++)}));
    };
    return split_words(record.value, sum);
  }
};

}  // namespace

uint64_t two_sum_hash(LogPartition partition, Offset offset, uint64_t position) {
  uint64_t hash = static_cast<uint64_t>(partition.value()) * 0x9E3779B97F4A7C15 +
                  static_cast<uint64_t>(offset.value()) * 0xBF58476D1CE4E5B9 + position * 0x94D049BB133111EB;
  hash = (hash ^ (hash >> 30)) * 0xBF58476D1CE4E5B9;
  hash = (hash ^ (hash >> 27)) * 0x94D049BB133111EB;
  return hash ^ (hash >> 31);
}

}  // namespace millrace

MILLRACE_JOB(two_sum, "per word the count and a sum of hashes of the places where it occurs, for exact verification") {
  job.records().flat_map(millrace::SumWords{}).reduce_by_key(millrace::MergeTwoSums{}).publish("sums");
}
