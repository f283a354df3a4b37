// Strong types for the numbers of the engine, so that two of them can never be exchanged by mistake.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <ostream>
#include <string>

namespace millrace {

// An integer with a meaning. `Tag` makes types distinct; the value is read by `.value()`.
template <typename Tag, typename Integer>
class StrongInt {
 public:
  using Underlying = Integer;

  constexpr StrongInt() = default;
  constexpr explicit StrongInt(Integer value) : value_(value) {}

  [[nodiscard]] constexpr Integer value() const { return value_; }
  [[nodiscard]] constexpr StrongInt next() const { return StrongInt(value_ + 1); }
  [[nodiscard]] constexpr StrongInt previous() const { return StrongInt(value_ - 1); }

  constexpr auto operator<=>(const StrongInt&) const = default;

  friend std::ostream& operator<<(std::ostream& out, StrongInt id) { return out << +id.value_; }

 private:
  Integer value_ = 0;
};

// Random 64-bit numbers, never zero, written as 16 hex digits. They name one life of a thing: a job from
// submit to kill, a process from start to death.
struct JobIdTag {};
using JobId = StrongInt<JobIdTag, uint64_t>;
struct ProcessIdTag {};
using ProcessId = StrongInt<ProcessIdTag, uint64_t>;  // a process' incarnation: master, agent or executor

// Raised by one each time; order is age. See "Identity" in ARCHITECTURE.md.
struct IncarnationTag {};
using Incarnation = StrongInt<IncarnationTag, int32_t>;  // of a job: raised by a rollback or reset
struct EpochTag {};
using Epoch = StrongInt<EpochTag, int64_t>;  // of the master
struct GenerationTag {};
using Generation = StrongInt<GenerationTag, int64_t>;  // of a state partition's owner
struct BatchIdTag {};
using BatchId = StrongInt<BatchIdTag, int64_t>;  // 1 is a job's first batch; 0 is "before the first"

struct StageIdTag {};
using StageId = StrongInt<StageIdTag, int32_t>;  // of a plan: 0 is the keyed reduction, 1 its rank

struct LogPartitionTag {};
using LogPartition = StrongInt<LogPartitionTag, int32_t>;
struct StatePartitionTag {};
using StatePartition = StrongInt<StatePartitionTag, int32_t>;
struct OffsetTag {};
using Offset = StrongInt<OffsetTag, int64_t>;  // of a record in its log partition

// Half-open range of offsets in one log partition.
struct OffsetRange {
  Offset from;
  Offset to;

  [[nodiscard]] constexpr bool empty() const { return from >= to; }
  [[nodiscard]] constexpr bool contains(Offset offset) const { return from <= offset && offset < to; }
  constexpr auto operator<=>(const OffsetRange&) const = default;
};

// In messages and records, whose integers are signed: the same 64 bits.
template <typename Tag>
[[nodiscard]] constexpr int64_t signed_of(StrongInt<Tag, uint64_t> id) {
  return static_cast<int64_t>(id.value());
}
[[nodiscard]] constexpr JobId job_of(int64_t id) {
  return JobId(static_cast<uint64_t>(id));
}
[[nodiscard]] constexpr ProcessId process_of(int64_t id) {
  return ProcessId(static_cast<uint64_t>(id));
}

// 16 lower-case hex digits; `parse_hex` accepts exactly those, and gives 0 for anything else.
std::string to_hex(uint64_t value);
uint64_t parse_hex(const std::string& text);
inline std::string to_string(JobId id) {
  return to_hex(id.value());
}
inline std::string to_string(ProcessId id) {
  return to_hex(id.value());
}

}  // namespace millrace

template <typename Tag, typename Integer>
struct std::hash<millrace::StrongInt<Tag, Integer>> {
  size_t operator()(millrace::StrongInt<Tag, Integer> id) const noexcept { return std::hash<Integer>{}(id.value()); }
};
