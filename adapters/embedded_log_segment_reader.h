// EmbeddedLogSegmentReader: walks one partition of an embedded log from an offset on, over its segments, up to what
// is announced. Used by the reading thread of EmbeddedLog.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>

#include "adapters/embedded_log_files.h"
#include "common/base/buffer.h"
#include "common/base/error.h"
#include "common/base/ids.h"

namespace millrace {

class EmbeddedLogSegmentReader {
 public:
  struct Piece {
    std::shared_ptr<FileMapping> mapping;
    std::string_view bytes;  // whole verified record batches in the mapping
    OffsetRange range;
    int64_t records = 0;
  };

  EmbeddedLogSegmentReader(std::filesystem::path folder, Offset from, std::optional<Offset> until)
      : folder_(std::move(folder)), next_(from), until_(until) {}

  // Whole batches from the current offset on: as many as fit into `wanted_bytes`, or else a first larger one if that
  // fits into `most_bytes`. nullopt: nothing to read, or it does not fit. kDataLost: the offset is not in the log.
  // kCorrupt: bytes do not verify. kIo, kNotFound: the file does not open (try again).
  Result<std::optional<Piece>> next(const Announced& announced, size_t wanted_bytes, size_t most_bytes);

  [[nodiscard]] bool finished() const { return until_ && next_ >= *until_; }
  [[nodiscard]] Offset offset() const { return next_; }

 private:
  Status open_segment(const Announced& announced);
  Status look_at_end(const Announced& announced);
  Status seek();
  std::unexpected<Error> bad(const std::string& problem) const;

  const std::filesystem::path folder_;
  Offset next_;  // the offset to continue from
  const std::optional<Offset> until_;

  std::shared_ptr<FileMapping> mapping_;  // of the current segment; null: none is open
  Offset segment_;
  uint64_t limit_ = 0;     // bytes of it that may be read
  bool complete_ = false;  // it is not the active one; limit_ is its end
  uint64_t position_ = 0;  // of the batch that holds next_, or of the first behind
};

}  // namespace millrace
