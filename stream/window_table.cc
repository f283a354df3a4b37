#include "stream/window_table.h"

namespace millrace::internal {
namespace {

constexpr size_t kEndBytes = 8;

}  // namespace

void append_pane_key(std::string& out, int64_t end_ms, std::string_view key) {
  for (size_t i = 0; i < kEndBytes; ++i) out += static_cast<char>(static_cast<uint64_t>(end_ms) >> (56 - 8 * i));
  out += key;
}

bool take_pane_key(std::string_view text, int64_t& end_ms, std::string_view& key) {
  if (text.size() < kEndBytes) return false;
  uint64_t end = 0;
  for (size_t i = 0; i < kEndBytes; ++i) end = end << 8 | static_cast<uint8_t>(text[i]);
  end_ms = static_cast<int64_t>(end);
  key = text.substr(kEndBytes);
  return end_ms >= 0;
}

void PaneKeys::add(int64_t end_ms, std::string_view key) {
  append_pane_key(bytes_, end_ms, key);
  sizes_.push_back(static_cast<uint32_t>(kEndBytes + key.size()));
}

void PaneKeys::add(const PaneKeys& other) {
  bytes_ += other.bytes_;
  sizes_.insert(sizes_.end(), other.sizes_.begin(), other.sizes_.end());
}

void PaneKeys::write_removed(StatePartition self, StateRun& run) const {
  size_t at = 0;
  for (const uint32_t size : sizes_) {
    run.add(self, std::string_view(bytes_).substr(at, size), {}, true);
    at += size;
  }
}

template class VersionedTable<int64_t, false>;
template class WindowTable<CountWindow<false>>;
template class WindowTable<CountWindow<true>>;

}  // namespace millrace::internal
