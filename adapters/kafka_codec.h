// Unpacker: undoes the compression of record batches, so that whoever reads records knows one form only. Belongs to one
// thread; keeps the decoders' memory from batch to batch.
//
// What stands in a batch behind its header, by codec:
//   gzip     gzip streams, one behind the other
//   snappy   one raw block, as librdkafka writes; or xerial, as Java writes: 82 'S' 'N' 'A' 'P' 'P' 'Y' 00,
//            i32 version, i32 oldest version that can read it, then blocks of {i32 size, raw block} to the end
//   lz4      LZ4 frames
//   zstd     Zstandard frames, mostly without the size of their content
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "common/base/error.h"
#include "common/model/record_batch.h"

namespace millrace {

class Unpacker {
 public:
  // `most_bytes`: what the records of one batch may unpack to.
  explicit Unpacker(uint32_t most_bytes = 256 << 20);
  ~Unpacker();
  Unpacker(const Unpacker&) = delete;
  Unpacker& operator=(const Unpacker&) = delete;

  // Appends to `out` a batch of the same records that is not compressed and has no checksum (0): the one of `batch` has
  // been checked. kCorrupt with codec and offset: `out` is as before then.
  Status append(const RecordBatchView& batch, std::string& out);

 private:
  struct Decoders;

  const size_t most_bytes_;
  const std::unique_ptr<Decoders> decoders_;
};

}  // namespace millrace
