// UnicodeWords: what people would call the words of a text, for flat_map: Unicode's word boundaries (UAX #29, as ICU
// sets them), only what has a letter or a digit, lower-cased. "Don't stop: 3.5 µm!" gives don't, stop, 3.5, µm.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_set>
#include <vector>

#include "stream/record.h"

namespace millrace {

// What becomes of a text's words.
struct WordRules {
  bool lower_case = true;  // they are given out so
  size_t min_length = 1;   // in code points, as given out
  // Not given out; compared as given out, so that they need not be lower-cased here.
  std::vector<std::string> stop_words;
};

// English articles, pronouns, prepositions, conjunctions and auxiliary verbs.
std::vector<std::string> english_stop_words();

namespace internal {

// Splits one text at a time. Used by one thread.
class WordBreaker {
 public:
  explicit WordBreaker(WordRules rules);
  WordBreaker(const WordBreaker& other);  // for another text
  WordBreaker(WordBreaker&&) noexcept;
  WordBreaker& operator=(const WordBreaker&) = delete;
  WordBreaker& operator=(WordBreaker&&) = delete;
  ~WordBreaker();

  // `text` must live until the last next(). Gives the position of the first byte that is no UTF-8.
  std::optional<size_t> start(std::string_view text);
  // Valid until the next call.
  std::optional<std::string_view> next();

 private:
  class Icu;
  struct Hash : std::hash<std::string_view> {
    using is_transparent = void;
  };

  std::optional<std::string_view> next_raw();
  std::string_view lowered(std::string_view word);

  WordRules rules_;
  std::unordered_set<std::string, Hash, std::equal_to<>> stop_words_;
  std::unique_ptr<Icu> icu_;  // made for the first text that is not ASCII
  std::string_view text_;
  bool ascii_ = true;
  size_t at_ = 0;  // of an ASCII text
  std::string buffer_;
};

}  // namespace internal

// For flat_map(): the words of a UTF-8 text by these rules. Refuses what is no valid UTF-8.
class UnicodeWords {
 public:
  using Output = std::string_view;             // see emitting()
  static constexpr bool kRefusesFirst = true;  // see Stream

  // Of what is not given out, see WordRules.
  explicit UnicodeWords(WordRules rules = {}) : breaker_(std::move(rules)) {}

  // Emits each word.
  template <typename Emit>
  RecordProblem operator()(std::string_view text,
                           Emit& emit) noexcept(std::is_nothrow_invocable_v<Emit&, std::string_view>) {
    if (const auto invalid = breaker_.start(text)) return "not valid UTF-8 at byte " + std::to_string(*invalid);
    while (const auto word = breaker_.next()) emit(*word);
    return std::nullopt;
  }

 private:
  internal::WordBreaker breaker_;
};

}  // namespace millrace
