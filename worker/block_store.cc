#include "worker/block_store.h"

namespace millrace {

size_t BlockStore::bytes_of(const Kept& kept) {
  size_t bytes = sizeof(MapOutcome) + sizeof(ShuffleBlock);
  for (const ShuffleBlock::Section& section : kept.block->sections) bytes += sizeof(section) + section.bytes.size();
  for (const DeadLetter& letter : kept.outcome->report.letters) bytes += sizeof(letter) + letter.reason.size();
  return bytes;
}

BlockStore::Blocks::iterator BlockStore::erase(Blocks::iterator block) {
  bytes_ -= bytes_of(block->second);
  return blocks_.erase(block);
}

void BlockStore::keep(Kept kept) {
  const std::pair key{kept.block->batch, kept.block->source};
  if (const auto old = blocks_.find(key); old != blocks_.end()) erase(old);
  bytes_ += bytes_of(kept);
  blocks_.emplace(key, std::move(kept));
  while (bytes_ > max_bytes_) erase(blocks_.begin());
}

const BlockStore::Kept* BlockStore::find(BatchId batch, LogPartition partition, OffsetRange range,
                                         const MapTimes& times) const {
  const auto found = blocks_.find({batch, partition});
  if (found == blocks_.end()) return nullptr;
  const ShuffleBlock& block = *found->second.block;
  return block.range == range && block.times == times ? &found->second : nullptr;
}

void BlockStore::forget_through(BatchId batch) {
  while (!blocks_.empty() && blocks_.begin()->first.first <= batch) erase(blocks_.begin());
}

void BlockStore::forget_beyond(BatchId batch) {
  for (auto block = blocks_.begin(); block != blocks_.end();) {
    block = block->first.first > batch ? erase(block) : std::next(block);
  }
}

}  // namespace millrace
