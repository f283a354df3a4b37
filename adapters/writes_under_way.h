// WritesUnderWay: the requests of a RecordWriter until they are answered. They have a bound of memory together, and
// each is answered when the last of its parts is.
#pragma once

#include <chrono>
#include <cstddef>
#include <list>
#include <mutex>
#include <optional>
#include <vector>

#include "common/seams/record_writer.h"

namespace millrace {

// Thread-safe.
class WritesUnderWay {
 public:
  using Time = std::chrono::steady_clock::time_point;

  class Write {
   public:
    [[nodiscard]] Time begin() const { return begin_; }

   private:
    friend class WritesUnderWay;
    Time begin_;
    size_t bytes_ = 0;
    size_t parts_left_ = 0;
    std::vector<WrittenRange> ranges_;
    std::optional<Error> error_;  // the first one
    RecordWriter::Done done_;
    std::list<Write>::iterator self_;
  };

  explicit WritesUnderWay(size_t most_bytes) : most_bytes_(most_bytes) {}
  // All of them were answered.
  ~WritesUnderWay();
  WritesUnderWay(const WritesUnderWay&) = delete;
  WritesUnderWay& operator=(const WritesUnderWay&) = delete;

  // The memory that a request takes, roughly.
  static size_t bytes_of(const WriteRequest& request);
  // A request of so many parts, which is there until each was told of, by whoever holds it, as stored or failed. Null:
  // too much is under way, and `done` was told so.
  Write* begin(size_t bytes, size_t parts, RecordWriter::Done done);
  void stored(Write* write, WrittenRange range) { stored(write, std::vector{range}); }
  void stored(Write* write, const std::vector<WrittenRange>& ranges);
  void failed(Write* write, const Error& error);

  // In order, and as few as there can be.
  static std::vector<WrittenRange> joined(std::vector<WrittenRange> ranges);

  [[nodiscard]] Duration oldest_wait() const;

 private:
  template <typename Note>
  void end_part(Write* write, Note note);

  const size_t most_bytes_;
  mutable std::mutex mutex_;
  std::list<Write> writes_;  // guarded by mutex_, like what they hold; in the order in which they came
  size_t bytes_ = 0;         // guarded by mutex_
};

}  // namespace millrace
