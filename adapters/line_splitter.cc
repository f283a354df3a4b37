#include "adapters/line_splitter.h"

#include <algorithm>
#include <utility>

namespace millrace {

std::span<const std::string_view> LineSplitter::add(std::string_view bytes) {
  lines_.clear();
  size_t begin = 0;
  for (size_t end = bytes.find('\n'); end != std::string_view::npos; end = bytes.find('\n', begin)) {
    const std::string_view piece = bytes.substr(begin, end - begin);
    if (pending_bytes_ > 0) {
      keep(piece);
      end_pending();
    } else {
      lines_.push_back(line_of(piece));
    }
    begin = end + 1;
  }
  keep(bytes.substr(begin));
  return lines_;
}

std::span<const std::string_view> LineSplitter::finish() {
  lines_.clear();
  if (pending_bytes_ > 0) end_pending();
  return lines_;
}

// One byte more than a record may have says that it is too long, and a "\r" may be the last.
void LineSplitter::keep(std::string_view piece) {
  pending_bytes_ += static_cast<int64_t>(piece.size());
  pending_.append(piece.substr(0, max_line_bytes_ + 2 - pending_.size()));
}

void LineSplitter::end_pending() {
  joined_ = std::exchange(pending_, {});
  pending_bytes_ = 0;
  lines_.push_back(line_of(joined_));
}

std::string_view LineSplitter::line_of(std::string_view text) const {
  if (text.ends_with('\r')) text.remove_suffix(1);
  return text.substr(0, max_line_bytes_ + 1);
}

}  // namespace millrace
