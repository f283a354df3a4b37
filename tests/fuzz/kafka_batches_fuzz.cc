// Fuzz target of the walk over the records of a Fetch answer: any bytes are refused or cut into pieces which tile what
// was walked over, lie within it and hold as many records as its batches. What arrives byte by byte is taken as what
// arrives at once. The bytes are batches as the input says, or the input itself with checksums put right, since no
// fuzzer finds one.
#include <cstdint>
#include <string>

#include "adapters/kafka_batches.h"
#include "common/base/check.h"
#include "common/model/crc32c.h"
#include "tests/unit/packed_batch.h"

using millrace::AbortedTransaction;
using millrace::BatchPieces;
using millrace::BatchWalk;
using millrace::Compression;
using millrace::Offset;
using millrace::OffsetRange;
using millrace::RecordBatchBuilder;
using millrace::RecordBatchCursor;
using millrace::RecordBatchView;

namespace {

constexpr size_t kChoices = 5;  // bytes in front that choose what was asked and answered

struct Question {
  Offset from;
  bool committed;
  std::vector<AbortedTransaction> aborted;

  [[nodiscard]] BatchWalk begin() const { return {from, -1, committed, aborted}; }
};

std::string with_checksums(std::string bytes) {
  RecordBatchCursor batches(bytes);
  for (RecordBatchView batch; batches.next(batch);) {
    char* const at = bytes.data() + batches.position() - batch.bytes().size();
    millrace::store_big(at + 17, millrace::crc32c(batch.bytes().substr(RecordBatchView::kCrcBegins)));
  }
  return bytes;
}

// Four bytes for each batch: gap before it, records, producer and attributes, codec.
std::string batches_of(std::string_view input) {
  std::string bytes;
  int64_t offset = 0;
  for (; input.size() >= 4; input.remove_prefix(4)) {
    offset += input[0] & 7;
    RecordBatchBuilder builder;
    builder.set_producer({(input[2] & 3) - 1, 0, 0});
    const std::string_view abort_or_commit(input[2] & 4 ? "\0\0\0\0" : "\0\0\0\1", 4);
    for (int count = 1 + (input[1] & 7); count > 0; --count) builder.add(Offset(offset++), 0, abort_or_commit, "v");
    const auto codec = static_cast<Compression>((input[3] & 7) % 5);
    const auto attributes = static_cast<int16_t>((input[2] & 0x30) | static_cast<int16_t>(codec));
    bytes +=
        millrace::with_attributes(packed_batch(codec, builder.finish()), attributes);  // 0x30: transactional, control
  }
  return bytes;
}

millrace::Unpacker& unpacker() {
  static millrace::Unpacker only(1 << 16);
  return only;
}

// Batch by batch. All of them have been read by pieces before.
int64_t count(const BatchWalk& walk, OffsetRange range) {
  int64_t total = 0;
  for (const RecordBatchView& batch : walk.batches()) {
    if (batch.is_control() || batch.base_offset() >= range.to) continue;
    std::string plain(batch.bytes());
    if (batch.compression() != Compression::kNone) {
      plain.clear();
      CHECK(unpacker().append(batch, plain));
    }
    total += millrace::count_records(plain, range).value();
  }
  return total;
}

void check_pieces(const BatchWalk& walk, std::string_view bytes, OffsetRange range, size_t wanted_bytes,
                  bool all_good) {
  BatchPieces pieces(walk.batches(), range, unpacker());
  Offset next = range.from;
  int64_t records = 0;
  while (!pieces.finished()) {
    const auto piece = pieces.next(wanted_bytes);
    CHECK(piece || !all_good);
    if (!piece) return;
    CHECK(piece->range.from == next && !piece->range.empty() && piece->range.to <= range.to);
    if (!piece->in_place.empty()) {
      CHECK(piece->in_place.data() >= bytes.data());
      CHECK(piece->in_place.data() + piece->in_place.size() <= bytes.data() + bytes.size());
    }
    CHECK_EQ(piece->records == 0, piece->in_place.empty() && piece->unpacked.empty());
    RecordBatchCursor batches(piece->unpacked.empty() ? piece->in_place : piece->unpacked);
    for (RecordBatchView batch; batches.next(batch);) {
      CHECK(batch.is_control() || batch.compression() == Compression::kNone);
    }
    CHECK(batches.status());
    records += piece->records;
    next = piece->range.to;
  }
  CHECK_EQ(next, range.to);
  CHECK_EQ(records, count(walk, range));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < kChoices) return 0;
  const Question question{Offset(data[0]), data[1] % 2 == 0, {{data[2] & 3, Offset(data[3])}, {1, Offset(data[2])}}};
  const bool built = data[4] % 2 == 0;
  const std::string_view input(reinterpret_cast<const char*>(data) + kChoices, size - kChoices);
  std::string bytes = built ? batches_of(input.substr(0, 256)) : with_checksums(std::string(input));
  std::string trickling = bytes;

  BatchWalk walk = question.begin();
  const BatchWalk::State state = walk.advance(bytes);
  CHECK(state == BatchWalk::State::kGood || !built);
  BatchWalk slow = question.begin();
  for (size_t arrived = 0; arrived <= trickling.size(); ++arrived) {
    (void)slow.advance(std::span(trickling).first(arrived));
  }
  CHECK(slow.advance(trickling) == state && slow.next() == walk.next() && trickling == bytes);

  check_pieces(walk, bytes, {question.from, walk.next()}, 1, built);
  const OffsetRange bounded{question.from, std::min(walk.next(), Offset(data[0] + data[1]))};
  check_pieces(walk, bytes, bounded, 1 + data[2], built);
  return 0;
}
