#include "worker/rank_book.h"

namespace millrace {

RankBook::RankBook(int64_t size, int32_t state_partitions) : size_(static_cast<size_t>(size)) {
  for (int32_t p = 0; p < state_partitions; ++p) all_.insert(StatePartition(p));
}

bool RankBook::add(RankShare share) {
  std::optional<RankShare> rank = gather_.add(std::move(share), all_, size_);
  if (!rank) return false;
  if (rank->batch == round_) of_round_ = *rank;
  if (newest_ && newest_->batch >= rank->batch) return false;
  newest_ = std::move(rank);
  return true;
}

void RankBook::forget_beyond(BatchId batch) {
  gather_.forget_beyond(batch);
  if (newest_ && newest_->batch > batch) newest_.reset();
  if (of_round_ && of_round_->batch > batch) of_round_.reset();
}

const RankShare* RankBook::of(BatchId batch) const {
  if (newest_ && newest_->batch == batch) return &*newest_;
  return of_round_ && of_round_->batch == batch ? &*of_round_ : nullptr;
}

}  // namespace millrace
