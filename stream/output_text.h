// The lines of an output: what of a value they show, by their format.
//
//   text   as text_of: a pair is its key, a tab and its value
//   json   a struct with MILLRACE_FIELDS is an object of its fields, a pair {"key":...,"value":...}, all else as in
//          value_text.h
//   csv    by RFC 4180: the fields of a struct, a tuple or a pair are columns, all else is one
#pragma once

#include <concepts>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

#include "stream/codec.h"
#include "stream/value_text.h"

namespace millrace {

// The texts of values, as they are shown.
struct TextLines {
  static constexpr const char* kName = "text";  // as the plan of a job has it
};
// Values as JSON.
struct JsonLines {
  static constexpr const char* kName = "json";  // as the plan of a job has it
};
// Values as CSV.
struct CsvLines {
  static constexpr const char* kName = "csv";  // as the plan of a job has it
};
// The formats that Stream::write() takes.
inline constexpr TextLines text_lines;
inline constexpr JsonLines json_lines;
inline constexpr CsvLines csv_lines;

namespace internal {

template <typename T>
inline constexpr bool kIsPair = false;
template <typename A, typename B>
inline constexpr bool kIsPair<std::pair<A, B>> = true;
template <typename T>
inline constexpr bool kIsTuple = false;
template <typename... Fields>
inline constexpr bool kIsTuple<std::tuple<Fields...>> = true;

// Down to the parts, as kTextual, with structs.
template <typename T>
struct HasJson : std::bool_constant<kTextual<T>> {};
template <typename Tuple>
struct AllJson;
template <typename... Fields>
struct AllJson<std::tuple<Fields...>> : std::bool_constant<(HasJson<std::decay_t<Fields>>::value && ...)> {};
template <HasFields T>
  requires(!HasText<T>)
struct HasJson<T> : AllJson<decltype(std::declval<const T&>().millrace_fields())> {};
template <typename A, typename B>
struct HasJson<std::pair<A, B>> : std::bool_constant<HasJson<A>::value && HasJson<B>::value> {};
template <typename... Fields>
struct HasJson<std::tuple<Fields...>> : AllJson<std::tuple<Fields...>> {};
template <typename T>
struct HasJson<std::optional<T>> : HasJson<T> {};
template <typename T>
struct HasJson<std::vector<T>> : HasJson<T> {};

// Down to its fields, as kTextual.
template <typename Tuple>
struct AllText;
template <typename... Fields>
struct AllText<std::tuple<Fields...>> : std::bool_constant<(kTextual<std::decay_t<Fields>> && ...)> {};
template <typename T>
struct HasColumns : std::bool_constant<kTextual<T>> {};
template <HasFields T>
  requires(!HasText<T>)
struct HasColumns<T> : AllText<decltype(std::declval<const T&>().millrace_fields())> {};

// Say why values are no lines of a format; false: their lines must not be made.
template <typename T>
consteval bool require_line(TextLines) {
  static_assert(kTextual<T>, "millrace: write() needs values that have a text; map() them, or write json_lines");
  return kTextual<T>;
}
template <typename T>
consteval bool require_line(JsonLines) {
  static_assert(HasJson<T>::value,
                "millrace: json_lines needs numbers, strings, pairs, tuples, optionals, vectors, types with a member "
                "`std::string text() const`, or structs of these with MILLRACE_FIELDS");
  return HasJson<T>::value;
}
template <typename T>
consteval bool require_line(CsvLines) {
  static_assert(HasColumns<T>::value,
                "millrace: csv_lines needs values, or structs with MILLRACE_FIELDS, pairs or tuples of values, that "
                "have a text; map() them, or write json_lines");
  return HasColumns<T>::value;
}

// One column of a line of CSV.
void append_csv(std::string& line, std::string_view column);

template <typename T>
void append_column(std::string& line, const T& value) {
  if constexpr (kIsOptional<T>) {
    if (value) append_column(line, *value);
  } else {
    append_csv(line, text_of(value));
  }
}
template <typename Tuple>
void append_columns(std::string& line, const Tuple& fields) {
  size_t index = 0;
  std::apply([&](const auto&... field) { ((line += index++ == 0 ? "" : ",", append_column(line, field)), ...); },
             fields);
}

template <typename T>
void append_line(std::string& line, const T& value, TextLines) {
  if constexpr (kIsPair<T>) {
    line += text_of(value.first);
    line += '\t';
    line += text_of(value.second);
  } else {
    line += text_of(value);
  }
}
template <typename T>
void append_line(std::string& line, const T& value, JsonLines) {
  if constexpr (kIsPair<T>) {
    line += "{\"key\":";
    append_json(line, value.first);
    line += ",\"value\":";
    append_json(line, value.second);
    line += '}';
  } else {
    append_json(line, value);
  }
}
template <typename T>
void append_line(std::string& line, const T& value, CsvLines) {
  if constexpr (kIsTuple<T>) {
    append_columns(line, value);
  } else if constexpr (kIsPair<T>) {
    append_columns(line, std::tie(value.first, value.second));
  } else if constexpr (HasFields<T> && !HasText<T>) {
    append_columns(line, value.millrace_fields());
  } else {
    append_column(line, value);
  }
}

}  // namespace internal
}  // namespace millrace
