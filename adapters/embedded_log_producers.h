// ProducerTable: the newest numbered appends of the producers of one log partition, so that a repeated append is
// recognised. A pure function of the partition's batches, in whose producer fields the numbers are kept; saved when
// a segment begins, so that opening a log reads its newest segment only.
//
// Saved form (little-endian):
//   0  u32 magic "MRLP"   4  u32 version = 1   8  u64 number of producers n
//  16  n x { i64 producer, u64 number of appends k, k x { i64 sequence, i64 from offset, i64 to offset } }
//      u64 XXH3-64 of all before
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/model/record_batch.h"
#include "common/seams/ingest_store.h"

namespace millrace {

// Owned by one log partition and used under its mutex.
class ProducerTable {
 public:
  static constexpr size_t kMostProducers = 10'000;  // the longest silent one is forgotten first
  static constexpr size_t kAppendsEach = 16;
  static constexpr int64_t kLargestSequence = (int64_t{1} << 46) - 1;

  // Numbers in the producer fields of a batch: the low 31 bits of the sequence are the base sequence, the 15 above
  // it the producer epoch.
  static ProducerStamp stamp(const AppendIdentity& identity);
  static AppendIdentity identity(const RecordBatchView& batch);  // producer_id 0: unnumbered

  // The range that was answered, or nullopt for a new append. kInvalid: older than those remembered.
  [[nodiscard]] Result<std::optional<OffsetRange>> find(const AppendIdentity& identity) const;
  // Ranges ascend from call to call, but sequence numbers need not: two appends that were under way at once are
  // committed in either order.
  void remember(const AppendIdentity& identity, OffsetRange range);

  [[nodiscard]] std::string encode() const;
  static Result<ProducerTable> decode(std::string_view bytes);  // kCorrupt

 private:
  struct Append {
    int64_t sequence;
    OffsetRange range;
  };
  struct Producer {
    std::deque<Append> appends;  // ascending by sequence, never empty
    Offset newest;               // end of the append that was committed last
  };
  std::unordered_map<int64_t, Producer> producers_;
  std::map<Offset, int64_t> by_newest_;  // a producer's `newest` -> producer
};

}  // namespace millrace
