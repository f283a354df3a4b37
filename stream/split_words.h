// Text: functions for flat_map.
#pragma once

#include <string>
#include <string_view>
#include <type_traits>

#include "stream/record.h"
#include "stream/text.h"

namespace millrace {

// The words of a UTF-8 text: separated by ASCII white space and kept as they are, like Python's bytes.split(). Refuses
// what is no valid UTF-8.
struct SplitWords {
  using Output = std::string_view;             // see emitting()
  static constexpr bool kRefusesFirst = true;  // see Stream

  // Emits each word.
  template <typename Emit>
  [[gnu::always_inline]] RecordProblem operator()(std::string_view text, Emit& emit) const
      noexcept(std::is_nothrow_invocable_v<Emit&, std::string_view>) {
    const auto invalid = splitter.split(text, [&emit](std::string_view word) { emit(word); });
    if (invalid) [[unlikely]]
      return "not valid UTF-8 at byte " + std::to_string(*invalid);
    return std::nullopt;
  }

  TextSplitter splitter;  // by what the processor can do
};
// For flat_map().
inline const SplitWords split_words;

}  // namespace millrace
