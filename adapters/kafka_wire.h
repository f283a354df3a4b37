// WireReader and WireWriter: the primitives of Kafka's protocol in its newer, "flexible" form.
//
//   integers         big-endian
//   uvarint          7 bits a byte, least significant first, not zigzag; at most 32 bits in 5 bytes
//   compact string   uvarint size + 1, bytes; 0: null
//   compact array    uvarint number + 1, elements; 0: null
//   tags             uvarint number, then of each: uvarint tag, uvarint size, bytes
//
// What a broker says is not trusted: a reader never reads outside of its bytes. After the first thing that is not
// there or cannot be, everything reads as 0 and empty, so a parser asks once, at its end, whether all was well.
#pragma once

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "common/base/byte_order.h"

namespace millrace {

class WireReader {
 public:
  explicit WireReader(std::string_view bytes) : rest_(bytes), size_(bytes.size()) {}

  [[nodiscard]] bool good() const { return state_ == State::kGood; }
  [[nodiscard]] bool ran_out() const { return state_ == State::kRanOut; }  // more bytes may make it good
  [[nodiscard]] bool at_end() const { return good() && rest_.empty(); }
  [[nodiscard]] size_t position() const { return size_ - rest_.size(); }
  void refuse() { fail(State::kBroken); }

  template <std::signed_integral Integer>
  Integer integer() {
    const std::string_view from = bytes(sizeof(Integer));
    return from.empty() ? Integer{0} : load_big<Integer>(from.data());
  }

  std::string_view bytes(size_t size) {
    if (size > rest_.size()) fail(State::kRanOut);
    if (!good()) return {};
    const std::string_view taken = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return taken;
  }

  uint32_t uvarint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 35; shift += 7) {
      const auto byte = static_cast<uint8_t>(integer<int8_t>());
      value |= static_cast<uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80 && value <= UINT32_MAX) return static_cast<uint32_t>(value);
    }
    refuse();
    return 0;
  }

  // Of what is compact: its size, or how many. Null is as good as empty to us.
  uint32_t compact_size() {
    const uint32_t above = uvarint();
    return above == 0 ? 0 : above - 1;
  }
  std::string_view compact_string() { return bytes(compact_size()); }

  template <typename Element>
  void compact_array(Element element) {
    for (uint32_t left = compact_size(); left > 0 && good(); --left) element();
  }

  // `known` gets each tag and a reader of its bytes, and passes over a tag by not reading them.
  template <typename Known>
  void tags(Known known) {
    for (uint32_t left = uvarint(); left > 0 && good(); --left) {
      const uint32_t tag = uvarint();
      WireReader value(bytes(uvarint()));
      if (good()) known(tag, value);
      if (!value.good()) refuse();
    }
  }
  void skip_tags() {
    tags([](uint32_t, WireReader&) {});
  }

 private:
  enum class State { kGood, kRanOut, kBroken };

  void fail(State state) {
    if (good()) state_ = state;
    rest_ = {};
  }

  std::string_view rest_;
  size_t size_;
  State state_ = State::kGood;
};

// Writes one frame: an i32 of how many bytes follow, and these.
class WireWriter {
 public:
  WireWriter() { integer(int32_t{0}); }

  template <std::signed_integral Integer>
  void integer(Integer value) {
    frame_.resize(frame_.size() + sizeof value);
    store_big(frame_.data() + frame_.size() - sizeof value, value);
  }
  void bytes(std::string_view bytes) { frame_ += bytes; }
  void uvarint(uint32_t value) {
    for (; value >= 0x80; value >>= 7) frame_ += static_cast<char>(value | 0x80);
    frame_ += static_cast<char>(value);
  }
  void compact_size(size_t size) { uvarint(static_cast<uint32_t>(size) + 1); }
  void compact_string(std::string_view text) {
    compact_size(text.size());
    bytes(text);
  }
  void no_tags() { uvarint(0); }

  // The frame; the writer is used up.
  std::string finish() {
    store_big(frame_.data(), static_cast<int32_t>(frame_.size() - sizeof(int32_t)));
    return std::move(frame_);
  }

 private:
  std::string frame_;
};

}  // namespace millrace
