// OutputLines: the lines that a batch appends to an output, as they go from where they are made to whoever appends them
// (within processes of one version only): for each, little-endian,
//
//   key's size (u32; kNoKey: none), line's size (u32), key, line
//
// The line is whole, its key included. What it ends with is the affair of where it goes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/base/byte_order.h"

namespace millrace {

class OutputLines {
 public:
  explicit OutputLines(std::string_view bytes) : rest_(bytes) {}

  static void add(std::string& out, std::optional<std::string_view> key, std::string_view line) {
    char sizes[kSizes];
    store_little(sizes, key ? static_cast<uint32_t>(key->size()) : kNoKey);
    store_little(sizes + sizeof(uint32_t), static_cast<uint32_t>(line.size()));
    out.append(sizes, kSizes);
    if (key) out.append(*key);
    out.append(line);
  }

  // False: there are no more, or what is left is none; see is_whole().
  bool next(std::optional<std::string_view>& key, std::string_view& line) {
    if (rest_.size() < kSizes) return false;
    const auto key_size = load_little<uint32_t>(rest_.data());
    const auto line_size = load_little<uint32_t>(rest_.data() + sizeof(uint32_t));
    const uint64_t key_bytes = key_size == kNoKey ? 0 : key_size;
    if (rest_.size() - kSizes < key_bytes + line_size) return false;
    key = key_size == kNoKey ? std::nullopt : std::optional(rest_.substr(kSizes, key_bytes));
    line = rest_.substr(kSizes + key_bytes, line_size);
    rest_.remove_prefix(kSizes + key_bytes + line_size);
    return true;
  }
  // After next() was false: all have been read.
  [[nodiscard]] bool is_whole() const { return rest_.empty(); }

 private:
  static constexpr uint32_t kNoKey = UINT32_MAX;
  static constexpr size_t kSizes = 2 * sizeof(uint32_t);

  std::string_view rest_;
};

}  // namespace millrace
