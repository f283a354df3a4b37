// Text: words of a UTF-8 text, separated by ASCII white space exactly as Python's bytes.split() does (blank, \t, \n,
// \v, \f, \r) and kept as they are.
//
// A classifier marks the white space of up to 64 bytes a step; the best one that the processor can run is chosen
// once per TextSplitter. The scalar one is the reference for all others.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace millrace {

// Sets bit i % 64 of blanks[i / 64] where byte i is white space, for all i < size; bits behind are zero. Writes
// (size + 63) / 64 words. True if any byte is not ASCII.
using Classifier = bool (*)(const char* bytes, size_t size, uint64_t* blanks);

enum class ClassifierKind { kScalar, kSse2, kAvx2, kAvx512 };
const char* to_string(ClassifierKind kind);
// nullptr: this processor cannot run it.
Classifier find_classifier(ClassifierKind kind);
ClassifierKind best_classifier();

// The position of the first byte that is not part of a valid UTF-8 sequence (as Python's UnicodeDecodeError.start).
std::optional<size_t> find_invalid_utf8(std::string_view text);

// Immutable; any thread.
class TextSplitter {
 public:
  explicit TextSplitter(ClassifierKind kind = best_classifier()) : classify_(find_classifier(kind)) {}

  // Calls word(std::string_view) for each word in order. If the text is no valid UTF-8, gives the position as
  // find_invalid_utf8 does and calls nothing.
  template <typename Word>
  [[gnu::always_inline]] std::optional<size_t> split(std::string_view text, Word&& word) const {
    std::array<uint64_t, kStrideWords + 1> blanks;
    const bool short_text = text.size() <= kStride;
    if (!short_text) {
      if (auto invalid = find_invalid_utf8(text)) return invalid;
    }
    const char* begin_of_word = text.data();
    const char* const end = text.data() + text.size();
    for (const char* at = text.data();; at += kStride) {
      const bool last = static_cast<size_t>(end - at) <= kStride;
      const size_t size = last ? static_cast<size_t>(end - at) : kStride;
      blanks[size / 64] = 0;
      const bool not_ascii = classify_(at, size, blanks.data());
      if (short_text && not_ascii) {
        if (auto invalid = find_invalid_utf8(text)) return invalid;
      }
      if (last) blanks[size / 64] |= uint64_t{1} << (size % 64);  // The end of the text ends a word.
      const size_t words = last ? size / 64 + 1 : size / 64;
      begin_of_word = words_of(at, std::span(blanks.data(), words), begin_of_word, word);
      if (last) return std::nullopt;
    }
  }

 private:
  static constexpr size_t kStrideWords = 64;
  static constexpr size_t kStride = kStrideWords * 64;

  // Gives the words that end at the blanks of a stride, and the place where the next one begins. Not inlined: what
  // surrounds it would leave its loop no registers.
  template <typename Word>
  [[gnu::noinline]] static const char* words_of(const char* stride, std::span<const uint64_t> blanks, const char* begin,
                                                Word& word) {
    for (const uint64_t block : blanks) {
      for (uint64_t left = block; left != 0; left &= left - 1) {
        const char* blank = stride + std::countr_zero(left);
        if (blank != begin) word(std::string_view(begin, blank));
        begin = blank + 1;
      }
      stride += 64;
    }
    return begin;
  }

  Classifier classify_;
};

}  // namespace millrace
