// What readers of an output see of a value (text_of), and what orders a rank (score_of); see stream/codec.h.
#pragma once

#include <charconv>
#include <concepts>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace millrace {

template <typename T>
concept HasText = requires(const T& value) {
  { value.text() } -> std::convertible_to<std::string>;
};
template <typename T>
concept HasScore = requires(const T& value) {
  { value.score() } -> std::convertible_to<double>;
};

inline void append_text(std::string& out, std::string_view value) {
  out += value;
}
template <typename T>
  requires std::is_arithmetic_v<T>
void append_text(std::string& out, T value) {
  if constexpr (std::same_as<T, bool>) {
    out += value ? "true" : "false";
  } else {
    char digits[64];
    const auto end = std::to_chars(digits, digits + sizeof(digits), value);  // floating point: the shortest exact form
    out.append(digits, end.ptr);
  }
}
template <HasText T>
void append_text(std::string& out, const T& value) {
  out += value.text();
}
template <typename A, typename B>
void append_text(std::string& out, const std::pair<A, B>& value);
template <typename... Fields>
void append_text(std::string& out, const std::tuple<Fields...>& value);
template <typename T>
void append_text(std::string& out, const std::optional<T>& value);
template <typename T>
void append_text(std::string& out, const std::vector<T>& values);

template <typename A, typename B>
void append_text(std::string& out, const std::pair<A, B>& value) {
  append_text(out, value.first);
  out += ' ';
  append_text(out, value.second);
}
template <typename... Fields>
void append_text(std::string& out, const std::tuple<Fields...>& value) {
  size_t index = 0;
  std::apply([&](const auto&... field) { ((out += index++ == 0 ? "" : " ", append_text(out, field)), ...); }, value);
}
template <typename T>
void append_text(std::string& out, const std::optional<T>& value) {
  if (value) append_text(out, *value);
}
template <typename T>
void append_text(std::string& out, const std::vector<T>& values) {
  for (size_t i = 0; i < values.size(); ++i) {
    if (i != 0) out += ' ';
    append_text(out, values[i]);
  }
}

// What append_text() takes, down to the parts.
template <typename T>
inline constexpr bool kTextual =
    HasText<T> || std::is_arithmetic_v<T> || std::convertible_to<const T&, std::string_view>;
template <typename A, typename B>
inline constexpr bool kTextual<std::pair<A, B>> = kTextual<A> && kTextual<B>;
template <typename... Fields>
inline constexpr bool kTextual<std::tuple<Fields...>> = (kTextual<Fields> && ...);
template <typename T>
inline constexpr bool kTextual<std::optional<T>> = kTextual<T>;
template <typename T>
inline constexpr bool kTextual<std::vector<T>> = kTextual<T>;

template <typename T>
std::string text_of(const T& value) {
  static_assert(kTextual<T>, "millrace: this type has no text. Give it a member `std::string text() const`");
  std::string text;
  append_text(text, value);
  return text;
}

// What is no number ranks last.
template <typename T>
double score_of(const T& value) {
  if constexpr (HasScore<T>) {
    const double score = value.score();
    return score == score ? score : -std::numeric_limits<double>::infinity();
  } else if constexpr (std::is_arithmetic_v<T>) {
    const auto score = static_cast<double>(value);
    return score == score ? score : -std::numeric_limits<double>::infinity();
  } else {
    return 0;
  }
}

}  // namespace millrace
