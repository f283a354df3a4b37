#include "local/input_log.h"

#include <ranges>
#include <utility>

namespace millrace {
namespace {

// Of input that is not counted yet: enough for what is read ahead, in flight, and fetched meanwhile.
constexpr size_t kInputBytes = 128 << 20;
// Input without an end must not need memory without one; of older lines the offset is told.
constexpr size_t kMostGroups = 1 << 18;

}  // namespace

InputLog::InputLog(int32_t partitions, const Clock& clock)
    : partitions_(partitions), clock_(clock), topic_(std::make_shared<MemoryTopic>(partitions, kInputBytes)) {}

bool InputLog::append(const ReceivedLines& lines) {
  {
    const std::scoped_lock lock(mutex_);
    const bool same = !groups_.empty() && *groups_.back().origin == lines.origin;
    groups_.push_back({next_, topic_->end(next_),
                       same ? groups_.back().origin : std::make_shared<const std::string>(lines.origin),
                       lines.first_line});
    if (groups_.size() > kMostGroups) groups_.pop_front();
  }
  if (!topic_->append(next_, lines.lines, clock_.wall_now().unix_ms)) return false;
  next_ = LogPartition((next_.value() + 1) % partitions_);
  return true;
}

void InputLog::tell_problem(std::string problem) {
  const std::scoped_lock lock(mutex_);
  problem_ = std::move(problem);
}

void InputLog::tell_share(double share) {
  const std::scoped_lock lock(mutex_);
  share_ = share;
}

void InputLog::end(Status status) {
  const std::scoped_lock lock(mutex_);
  problem_.clear();
  if (!status) {
    failure_ = status.error().message;
  } else {
    whole_ = topic_->describe();
  }
}

void InputLog::forget_below(const LogOffsets& offsets) {
  for (const auto& [partition, offset] : offsets) topic_->forget_below(partition, offset);
}

std::optional<LogDescription> InputLog::whole() const {
  const std::scoped_lock lock(mutex_);
  return whole_;
}

double InputLog::share() const {
  const std::scoped_lock lock(mutex_);
  return share_;
}

std::string InputLog::problem() const {
  const std::scoped_lock lock(mutex_);
  return problem_;
}

std::string InputLog::failure() const {
  const std::scoped_lock lock(mutex_);
  return failure_;
}

std::string InputLog::place_of(LogPartition partition, Offset offset) const {
  const std::scoped_lock lock(mutex_);
  for (const Group& group : std::views::reverse(groups_)) {
    if (group.partition != partition || group.from > offset) continue;
    const std::string line = "line " + std::to_string(group.first_line + offset.value() - group.from.value());
    return group.origin->empty() ? line : line + " of " + *group.origin;
  }
  return "partition " + std::to_string(partition.value()) + ", offset " + std::to_string(offset.value());
}

}  // namespace millrace
