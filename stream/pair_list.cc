#include "stream/pair_list.h"

#include <algorithm>

#include "stream/job.h"
#include "stream/varint.h"

namespace millrace::internal {

char* PairList::hold(uint32_t record, std::string_view key, size_t value_size) {
  const auto partition = state_partition_of(key, static_cast<int32_t>(pieces_.size()));
  const size_t size = varint_size(key.size()) + key.size() + value_size;
  char* at = put_varint(hold_in(record, static_cast<uint32_t>(partition.value()), size), key.size());
  return std::copy(key.begin(), key.end(), at);
}

char* PairList::hold_in(uint32_t record, uint32_t partition, size_t size) {
  const size_t begin = held_bytes_.size();
  held_.push_back({record, partition, begin});
  held_bytes_.resize(begin + size);
  return held_bytes_.data() + begin;
}

void PairList::commit(const Verdicts& verdicts) {
  for (size_t i = 0; i < held_.size(); ++i) {
    if (verdicts.refused(held_[i].record)) continue;
    const size_t end = i + 1 < held_.size() ? held_[i + 1].begin : held_bytes_.size();
    Piece& piece = pieces_[held_[i].partition];
    piece.bytes.append(held_bytes_, held_[i].begin, end - held_[i].begin);
    ++piece.pairs;
    ++emitted_;
  }
  held_.clear();
  held_bytes_.clear();
}

void PairList::clear() {
  constexpr size_t kKeep = size_t{1} << 16;
  for (Piece& piece : pieces_) {
    piece.pairs = 0;
    if (piece.bytes.capacity() > kKeep && piece.bytes.size() < piece.bytes.capacity() / 64) {
      piece.bytes = {};  // It was far too large for this time.
    } else {
      piece.bytes.clear();
    }
  }
  held_.clear();
  held_bytes_.clear();
  emitted_ = 0;
}

void PairList::measure(std::span<uint64_t> bytes) {
  for (size_t p = 0; p < bytes.size(); ++p) {
    if (pieces_[p].pairs != 0) bytes[p] = varint_size(pieces_[p].pairs) + pieces_[p].bytes.size();
  }
}

void PairList::write(std::span<char*> out) {
  for (size_t p = 0; p < out.size(); ++p) {
    if (pieces_[p].pairs == 0) continue;
    out[p] = put_varint(out[p], pieces_[p].pairs);
    out[p] = std::ranges::copy(pieces_[p].bytes, out[p]).out;
  }
}

}  // namespace millrace::internal
