#include "stream/unicode_words.h"

#include <unicode/ubrk.h>
#include <unicode/ucasemap.h>
#include <unicode/uchar.h>
#include <unicode/utext.h>
#include <unicode/utf8.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "common/base/check.h"
#include "stream/text.h"

namespace millrace {
namespace internal {
namespace {

// Word_Break properties of ASCII, as far as words need them.
enum class Break : uint8_t { kOther, kLetter, kDigit, kJoiner, kMidNumber, kMidBoth };

constexpr std::array<Break, 128> kBreaks = [] {
  std::array<Break, 128> breaks{};
  for (uint8_t c = 'a'; c <= 'z'; ++c) breaks[c] = Break::kLetter;
  for (uint8_t c = 'A'; c <= 'Z'; ++c) breaks[c] = Break::kLetter;
  for (uint8_t c = '0'; c <= '9'; ++c) breaks[c] = Break::kDigit;
  breaks['@'] = Break::kLetter;  // as CLDR has it since version 42, for addresses
  breaks['_'] = Break::kJoiner;
  breaks[','] = breaks[';'] = Break::kMidNumber;
  breaks['.'] = breaks['\''] = Break::kMidBoth;
  return breaks;
}();

Break break_of(char c) {
  return kBreaks[static_cast<uint8_t>(c)];
}

bool is_ascii(std::string_view text) {
  const char* at = text.data();
  const char* const end = at + text.size();
  uint64_t all = 0;
  for (; end - at >= 8; at += 8) {
    uint64_t bytes = 0;
    std::memcpy(&bytes, at, 8);
    all |= bytes;
  }
  for (; at != end; ++at) all |= static_cast<uint8_t>(*at);
  return (all & 0x8080808080808080) == 0;
}

bool has_letter_or_digit(std::string_view text) {
  const auto size = static_cast<int32_t>(text.size());
  for (int32_t at = 0; at < size;) {
    UChar32 character = 0;
    U8_NEXT(text.data(), at, size, character);  // NOLINT: ICU's own way of writing it
    if (u_isalnum(character)) return true;
  }
  return false;
}

size_t code_points(std::string_view text) {
  return static_cast<size_t>(
      std::ranges::count_if(text, [](char c) { return (static_cast<uint8_t>(c) & 0xC0) != 0x80; }));
}

}  // namespace

// ICU's iterator over the words of a UTF-8 text. What ICU can fail at here is memory and its own data.
class WordBreaker::Icu {
 public:
  Icu() {
    UErrorCode error = U_ZERO_ERROR;
    iterator_ = ubrk_open(UBRK_WORD, "", nullptr, 0, &error);
    CHECK(U_SUCCESS(error)) << "ICU has no rules for words: " << u_errorName(error);
    cases_ = ucasemap_open("", 0, &error);
    CHECK(U_SUCCESS(error)) << "ICU cannot lower-case: " << u_errorName(error);
  }
  Icu(const Icu&) = delete;
  Icu& operator=(const Icu&) = delete;
  ~Icu() {
    ucasemap_close(cases_);
    ubrk_close(iterator_);
    utext_close(&utext_);
  }

  void start(std::string_view text) {
    UErrorCode error = U_ZERO_ERROR;
    utext_openUTF8(&utext_, text.data(), static_cast<int64_t>(text.size()), &error);
    ubrk_setUText(iterator_, &utext_, &error);
    CHECK(U_SUCCESS(error)) << "ICU does not take a text: " << u_errorName(error);
    text_ = text;
    from_ = static_cast<size_t>(ubrk_first(iterator_));
  }

  std::optional<std::string_view> next() {
    for (;;) {
      const int32_t to = ubrk_next(iterator_);
      if (to == UBRK_DONE) return std::nullopt;
      const size_t from = std::exchange(from_, static_cast<size_t>(to));
      const std::string_view word = text_.substr(from, from_ - from);
      if (ubrk_getRuleStatus(iterator_) >= UBRK_WORD_NONE_LIMIT && has_letter_or_digit(word)) return word;
    }
  }

  void lower(std::string_view word, std::string& into) {
    into.resize(std::max(into.size(), 3 * word.size()));  // the most that lower case can need
    UErrorCode error = U_ZERO_ERROR;
    const int32_t size = ucasemap_utf8ToLower(cases_, into.data(), static_cast<int32_t>(into.size()), word.data(),
                                              static_cast<int32_t>(word.size()), &error);
    CHECK(U_SUCCESS(error)) << "ICU cannot lower-case a word: " << u_errorName(error);
    into.resize(static_cast<size_t>(size));
  }

 private:
  UBreakIterator* iterator_ = nullptr;
  UCaseMap* cases_ = nullptr;
  UText utext_ = UTEXT_INITIALIZER;
  std::string_view text_;
  size_t from_ = 0;
};

WordBreaker::WordBreaker(WordRules rules) : rules_(std::move(rules)) {
  for (const std::string& word : rules_.stop_words) {
    ascii_ = is_ascii(word);
    stop_words_.emplace(lowered(word));
  }
}

WordBreaker::WordBreaker(const WordBreaker& other) : rules_(other.rules_), stop_words_(other.stop_words_) {}
WordBreaker::WordBreaker(WordBreaker&&) noexcept = default;
WordBreaker::~WordBreaker() = default;

std::optional<size_t> WordBreaker::start(std::string_view text) {
  text_ = text;
  at_ = 0;
  ascii_ = is_ascii(text);
  if (ascii_) return std::nullopt;
  if (const auto invalid = find_invalid_utf8(text)) {
    text_ = {};
    ascii_ = true;
    return invalid;
  }
  if (!icu_) icu_ = std::make_unique<Icu>();
  icu_->start(text);
  return std::nullopt;
}

std::optional<std::string_view> WordBreaker::next() {
  for (;;) {
    const auto raw = next_raw();
    if (!raw) return std::nullopt;
    const std::string_view word = lowered(*raw);
    if ((ascii_ ? word.size() : code_points(word)) < rules_.min_length) continue;
    if (!stop_words_.empty() && stop_words_.contains(word)) continue;
    return word;
  }
}

// For ASCII the rules WB5 to WB13b of UAX #29 are these few lines.
std::optional<std::string_view> WordBreaker::next_raw() {
  if (!ascii_) return icu_->next();
  const size_t size = text_.size();
  for (;;) {
    while (at_ != size && break_of(text_[at_]) != Break::kLetter && break_of(text_[at_]) != Break::kDigit &&
           break_of(text_[at_]) != Break::kJoiner) {
      ++at_;
    }
    if (at_ == size) return std::nullopt;
    const size_t from = at_;
    bool has_text = false;
    for (Break last = Break::kOther; at_ != size; ++at_) {
      const Break now = break_of(text_[at_]);
      if (now == Break::kLetter || now == Break::kDigit || now == Break::kJoiner) {
        has_text = has_text || (now != Break::kJoiner && text_[at_] != '@');
        last = now;
        continue;
      }
      const Break after = at_ + 1 == size ? Break::kOther : break_of(text_[at_ + 1]);
      const bool joins = (now == Break::kMidBoth && after == Break::kLetter) ||
                         ((now == Break::kMidBoth || now == Break::kMidNumber) && after == Break::kDigit);
      if (!joins || last != after) break;
    }
    if (has_text) return text_.substr(from, at_ - from);
  }
}

std::string_view WordBreaker::lowered(std::string_view word) {
  if (!rules_.lower_case) return word;
  if (ascii_) {
    buffer_.resize(word.size());
    std::ranges::transform(word, buffer_.begin(),
                           [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; });
  } else {
    if (!icu_) icu_ = std::make_unique<Icu>();
    icu_->lower(word, buffer_);
  }
  return buffer_;
}

}  // namespace internal

std::vector<std::string> english_stop_words() {
  constexpr std::string_view kWords =
      "a about above after again against all am an and any are aren't as at be because been before being below between "
      "both but by can can't cannot could couldn't did didn't do does doesn't doing don't down during each few for "
      "from "
      "further had hadn't has hasn't have haven't having he he'd he'll he's her here here's hers herself him himself "
      "his how how's i i'd i'll i'm i've if in into is isn't it it's its itself just let's me more most mustn't my "
      "myself no nor not now of off on once only or other ought our ours ourselves out over own same shan't she she'd "
      "she'll she's should shouldn't so some such than that that's the their theirs them themselves then there there's "
      "these they they'd they'll they're they've this those through to too under until up very was wasn't we we'd "
      "we'll "
      "we're we've were weren't what what's when when's where where's which while who who's whom why why's will with "
      "won't would wouldn't you you'd you'll you're you've your yours yourself yourselves";
  std::vector<std::string> words;
  internal::WordBreaker breaker({});
  breaker.start(kWords);
  while (const auto word = breaker.next()) words.emplace_back(*word);
  return words;
}

}  // namespace millrace
