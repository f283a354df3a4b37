// layout_of<T>(): what the bytes are that Codec<T> writes, as text: where two texts are equal, one type reads what the
// other has written.
//
//   bool int32 uint64 float64 text    (A, B): pairs, tuples and structs with MILLRACE_FIELDS    [A]: vectors
//   {K: V}: maps                      A?: optional ones                 enumerations: as their integer
//
// A type with a Codec of its own is known by its C++ name, or by what that Codec says of its bytes:
//   static constexpr std::string_view kLayout = "two bytes of ...";
#pragma once

#include <concepts>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "stream/codec.h"

namespace millrace {

template <typename T>
std::string layout_of();

namespace internal {

// Of a state with a time to live, behind the layout of its values.
inline constexpr std::string_view kTouchedLayout = " and when it was touched";

// "... [with T = Name]", and more behind a ';'.
template <typename T>
std::string_view name_of_type() {
  constexpr std::string_view kBefore = "T = ";
  const std::string_view text = __PRETTY_FUNCTION__;
  const size_t begin = text.find(kBefore) + kBefore.size();
  return text.substr(begin, text.find_first_of(";]", begin) - begin);
}

template <typename T>
struct Layout {
  static std::string text() { return std::string(name_of_type<T>()); }
};

template <typename... Fields>
struct Layout<std::tuple<Fields...>> {
  static std::string text() {
    std::string fields;
    ((fields += (fields.empty() ? "" : ", ") + layout_of<std::decay_t<Fields>>()), ...);
    return "(" + fields + ")";
  }
};
template <HasFields T>
struct Layout<T> : Layout<decltype(std::declval<const T&>().millrace_fields())> {};
template <typename A, typename B>
struct Layout<std::pair<A, B>> : Layout<std::tuple<A, B>> {};
template <typename T>
struct Layout<std::optional<T>> {
  static std::string text() { return layout_of<T>() + "?"; }
};
template <typename T>
struct Layout<std::vector<T>> {
  static std::string text() { return "[" + layout_of<T>() + "]"; }
};
template <typename K, typename V>
struct Layout<std::map<K, V>> {
  static std::string text() { return "{" + layout_of<K>() + ": " + layout_of<V>() + "}"; }
};

}  // namespace internal

template <typename T>
std::string layout_of() {
  if constexpr (requires { Codec<T>::kLayout; }) {
    return std::string(Codec<T>::kLayout);
  } else if constexpr (std::is_enum_v<T>) {
    return layout_of<std::underlying_type_t<T>>();
  } else if constexpr (std::same_as<T, bool>) {
    return "bool";
  } else if constexpr (std::same_as<T, std::string>) {
    return "text";
  } else if constexpr (std::integral<T>) {
    return (std::signed_integral<T> ? "int" : "uint") + std::to_string(8 * sizeof(T));
  } else if constexpr (std::floating_point<T>) {
    return "float" + std::to_string(8 * sizeof(T));
  } else {
    return internal::Layout<T>::text();
  }
}

}  // namespace millrace
