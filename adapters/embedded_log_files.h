// The files of an embedded log: where they are, and the page through which its owner tells readers how far they may
// read. Integers are little-endian.
//
//   ROOT/owner.lock                       locked (flock) by the one process that appends
//   ROOT/NAME/log                         the log's identity, written once:
//        0  u32 magic "MRLG"   4  u32 version = 1   8  u32 partitions   12  u32 zero
//       16  16 bytes random id of the log          32  u64 XXH3-64 of all before
//   ROOT/NAME/announcement                mapped by the owner and by all readers, never replaced:
//        0  u32 magic "MRLA"   4  u32 version = 1   8  u32 partitions
//       12  u32 wake word: a futex that changes when there is something to look at
//       16  16 bytes id of the machine's boot: of the page of an earlier boot only the end offsets are believed, as
//           the least that was durable
//       64  per partition 128 bytes:
//            0  u64 sequence s; the slot to read is s modulo 2, and 0 means nothing announced yet
//           16  2 slots of { u64 base offset of the active segment, u64 durable bytes in it,
//                            u64 end offset, u64 begin offset }
//           80  u64 the newest end offset that an earlier boot announced
//   ROOT/NAME/PARTITION/BASE.segment      record batches from offset BASE (20 digits) on, one after the other
//   ROOT/NAME/PARTITION/BASE.producers    what was known of producers when that segment began; see
//                                         embedded_log_producers.h
//
// A segment that is not the active one is complete and never changes. Durable bytes never change.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "adapters/file_descriptor.h"
#include "common/base/error.h"
#include "common/base/ids.h"

namespace millrace {

inline constexpr int32_t kMostEmbeddedLogPartitions = 1024;

// kIo (or kNotFound) with the path and errno's text.
std::unexpected<Error> io_error(const std::string& what, const std::filesystem::path& path, int error_number);

struct EmbeddedLogIdentity {
  std::string topic_id;  // 32 hex digits
  int32_t partitions = 0;
};

// kNotFound: no log of this name. kCorrupt: the file is not what was written.
Result<EmbeddedLogIdentity> read_identity(const std::filesystem::path& log);
// Makes the folder, its partitions and, last, the identity, all durable.
Status write_identity(const std::filesystem::path& log, std::array<uint64_t, 2> id, int32_t partitions);
// Makes the entries of a folder durable.
Status sync_folder(const std::filesystem::path& folder);

std::filesystem::path partition_folder(const std::filesystem::path& log, LogPartition partition);
std::filesystem::path segment_path(const std::filesystem::path& folder, Offset base);
std::filesystem::path producers_path(const std::filesystem::path& folder, Offset base);
// Base offsets of the segments in a partition's folder, ascending.
Result<std::vector<Offset>> list_segments(const std::filesystem::path& folder);

// Read-only mapping of a file's first bytes; may reach beyond the file's end, where nobody looks.
class FileMapping {
 public:
  static Result<std::shared_ptr<FileMapping>> map(const std::filesystem::path& path, size_t bytes);
  FileMapping(const char* data, size_t size) : data_(data), size_(size) {}
  ~FileMapping();
  FileMapping(const FileMapping&) = delete;
  FileMapping& operator=(const FileMapping&) = delete;
  [[nodiscard]] const char* data() const { return data_; }
  [[nodiscard]] size_t size() const { return size_; }

 private:
  const char* data_;
  size_t size_;
};

// How far a partition may be read.
struct Announced {
  Offset segment;              // base offset of the active segment
  uint64_t segment_bytes = 0;  // durable ones in it
  Offset end;
  Offset begin;
};

// The announcement page. One owner publishes each partition (one thread at a time); anybody reads and waits.
class Announcement {
 public:
  // For the owner: makes the file or takes it over, and removes what an earlier boot announced, but for the ends.
  static Result<std::shared_ptr<Announcement>> create(const std::filesystem::path& log, int32_t partitions);
  // For readers. kUnavailable: not announced since the machine started.
  static Result<std::shared_ptr<Announcement>> open(const std::filesystem::path& log, int32_t partitions);
  ~Announcement();
  Announcement(const Announcement&) = delete;
  Announcement& operator=(const Announcement&) = delete;

  // Tells readers and wakes them.
  void publish(LogPartition partition, const Announced& announced);
  [[nodiscard]] std::optional<Announced> read(LogPartition partition) const;
  // Everything before it was announced as durable once, in this boot or before (as far as the kernel had written the
  // page when the machine went down).
  [[nodiscard]] Offset least_end(LogPartition partition) const;

  [[nodiscard]] std::atomic<uint32_t>& wake_word() const;

 private:
  Announcement(char* page, size_t bytes) : page_(page), bytes_(bytes) {}
  [[nodiscard]] std::atomic<uint64_t>& word(LogPartition partition, size_t index) const;
  void begin_boot(int32_t partitions);

  char* page_;
  size_t bytes_;
};

// Waits while `word` holds `value`, at most `timeout_ms` (negative: for ever). Returns early at times.
void futex_wait(std::atomic<uint32_t>& word, uint32_t value, int timeout_ms);
// Changes the word and wakes all who wait on it, in every process.
void futex_wake_all(std::atomic<uint32_t>& word);

}  // namespace millrace
