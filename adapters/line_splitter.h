// LineSplitter: lines out of bytes that come piece by piece. A line ends with "\n" or "\r\n"; of one that is longer
// than a record may be only so much is kept as shows that it is, so that it is refused where every record is, and costs
// no more memory. One thread uses it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace millrace {

class LineSplitter {
 public:
  explicit LineSplitter(size_t max_line_bytes) : max_line_bytes_(max_line_bytes) {}

  // The lines that end within these bytes; valid as long as they are and until the next call.
  std::span<const std::string_view> add(std::string_view bytes);
  // The last line, if it had no end.
  std::span<const std::string_view> finish();

  // Of the line that has begun and not ended.
  [[nodiscard]] int64_t pending_bytes() const { return pending_bytes_; }

 private:
  void keep(std::string_view piece);
  void end_pending();
  [[nodiscard]] std::string_view line_of(std::string_view text) const;

  const size_t max_line_bytes_;

  std::string pending_;  // the begin of the line that has not ended, as much as is kept
  int64_t pending_bytes_ = 0;
  std::string joined_;  // the line that had begun in earlier bytes
  std::vector<std::string_view> lines_;
};

}  // namespace millrace
