#include "worker/level_inbox.h"

#include <algorithm>

namespace millrace {

void LevelInbox::restart(Generation generation, BatchId applied) {
  generation_ = generation;
  applied_ = applied;
  arrived_.clear();
  bytes_ = 0;
}

LevelInbox::Admission LevelInbox::add(std::shared_ptr<const LevelBlock> block) {
  if (block->generation < generation_ || block->batch <= applied_) return Admission::kOutdated;
  const auto source = static_cast<size_t>(block->source.value());
  const bool expected = block->generation == generation_ && block->level >= 1 && block->level < levels_ &&
                        source < sources_ && block->batch.value() - applied_.value() <= kMostBatchesAhead;
  if (!expected) return Admission::kUnexpected;
  Arrived& arrived = arrived_[{block->batch, block->level}];
  arrived.by_source.resize(sources_);
  if (arrived.by_source[source] != nullptr) return Admission::kRepeated;
  bytes_ += block->bytes();
  arrived.by_source[source] = std::move(block);
  ++arrived.count;
  return Admission::kHeld;
}

std::optional<std::vector<SharedBuffer>> LevelInbox::sections_for(BatchId batch, int32_t level,
                                                                  StatePartition partition) const {
  const auto arrived = arrived_.find({batch, level});
  if (arrived == arrived_.end() || arrived->second.count < sources_) return std::nullopt;
  std::vector<SharedBuffer> sections;
  for (const auto& block : arrived->second.by_source) {
    const auto section = std::ranges::lower_bound(block->sections, partition, {}, &ShuffleBlock::Section::partition);
    if (section != block->sections.end() && section->partition == partition) sections.push_back(section->bytes);
  }
  return sections;
}

LevelInbox::ByLevel::iterator LevelInbox::erase(ByLevel::iterator arrived) {
  for (const auto& block : arrived->second.by_source) bytes_ -= block == nullptr ? 0 : block->bytes();
  return arrived_.erase(arrived);
}

void LevelInbox::forget_through(BatchId applied) {
  applied_ = std::max(applied_, applied);
  while (!arrived_.empty() && arrived_.begin()->first.first <= applied_) erase(arrived_.begin());
}

void LevelInbox::forget_beyond(BatchId batch) {
  for (auto arrived = arrived_.begin(); arrived != arrived_.end();) {
    arrived = arrived->first.first > batch ? erase(arrived) : std::next(arrived);
  }
}

}  // namespace millrace
