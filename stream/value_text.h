// What readers of an output see of a value (text_of), and what orders a rank (score_of); see stream/codec.h.
//
// Numbers, strings and types with a text() of their own are shown as they are; a pair, a tuple, a vector and an
// optional as JSON, e.g. [1,"a",null], in which a type with a text() is a string.
#pragma once

#include <algorithm>
#include <charconv>
#include <cmath>
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

// What has a text, down to the parts.
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

namespace internal {

template <typename T>
inline constexpr bool kIsOptional = false;
template <typename T>
inline constexpr bool kIsOptional<std::optional<T>> = true;
template <typename T>
inline constexpr bool kIsVector = false;
template <typename T>
inline constexpr bool kIsVector<std::vector<T>> = true;

template <typename T>
std::string number_text(T value) {
  if constexpr (std::same_as<T, bool>) {
    return value ? "true" : "false";
  } else {
    char digits[64];
    const auto end = std::to_chars(digits, digits + sizeof(digits), value);  // floating point: the shortest exact form
    return std::string(digits, end.ptr);
  }
}

// A JSON string of it; bytes that are no UTF-8 become U+FFFD.
void append_json_string(std::string& out, std::string_view text);

// A struct that names its fields (MILLRACE_FIELDS).
template <typename T>
concept NamesFields = requires { T::millrace_names(); };
// Takes the first of "a, b, c".
inline std::string_view take_name(std::string_view& names) {
  const size_t end = std::min(names.find(','), names.size());
  const std::string_view name = names.substr(0, end);
  names.remove_prefix(std::min(names.find_first_not_of(", ", end), names.size()));
  return name;
}

template <typename T>
void append_json(std::string& out, const T& value) {
  if constexpr (HasText<T>) {
    append_json_string(out, value.text());
  } else if constexpr (std::convertible_to<const T&, std::string_view>) {
    append_json_string(out, value);
  } else if constexpr (std::is_floating_point_v<T>) {
    if (std::isfinite(value)) {
      out += number_text(value);
    } else {
      out += std::isnan(value) ? "\"nan\"" : value < 0 ? "\"-inf\"" : "\"inf\"";  // JSON has none of them
    }
  } else if constexpr (std::is_arithmetic_v<T>) {
    out += number_text(value);
  } else if constexpr (kIsOptional<T>) {
    if (value) {
      append_json(out, *value);
    } else {
      out += "null";
    }
  } else if constexpr (kIsVector<T>) {
    out += '[';
    for (size_t i = 0; i < value.size(); ++i) {
      if (i != 0) out += ',';
      append_json<typename T::value_type>(out, value[i]);
    }
    out += ']';
  } else if constexpr (NamesFields<T>) {
    out += '{';
    std::string_view names = T::millrace_names();
    const auto add = [&](const auto& field) {
      if (out.back() != '{') out += ',';
      append_json_string(out, take_name(names));
      out += ':';
      append_json(out, field);
    };
    std::apply([&](const auto&... field) { (add(field), ...); }, value.millrace_fields());
    out += '}';
  } else {
    out += '[';
    size_t index = 0;
    std::apply([&](const auto&... field) { ((out += index++ == 0 ? "" : ",", append_json(out, field)), ...); }, value);
    out += ']';
  }
}

}  // namespace internal

template <typename T>
std::string text_of(const T& value) {
  static_assert(kTextual<T>, "millrace: this type has no text. Give it a member `std::string text() const`");
  if constexpr (HasText<T>) {
    return value.text();
  } else if constexpr (std::convertible_to<const T&, std::string_view>) {
    return std::string(std::string_view(value));
  } else if constexpr (std::is_arithmetic_v<T>) {
    return internal::number_text(value);
  } else {
    std::string text;
    internal::append_json(text, value);
    return text;
  }
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
