// How values become bytes and texts.
//
//   Codec<T>    the bytes of a value in shuffle blocks and checkpoints: size(), encode(), decode()
//   text_of     what a reader of an output sees
//   score_of    what orders a rank
//   KeyText<K>  the bytes of a key, which are its text: Redis, `millrace get` and the partitions speak of the same
//   bytes
//
// There are codecs for bool, integers, enumerations, floating-point numbers, strings, std::pair, std::tuple,
// std::optional, std::vector and std::map of these, and for structs that list all their fields:
//
//   struct Visit {
//     int64_t count;
//     std::string page;
//     MILLRACE_FIELDS(Visit, count, page)
//   };
//
// A struct may have members `std::string text() const` and `double score() const`; an own specialisation of Codec
// serves for everything else, and may say what its bytes are (stream/layout.h). All bytes are the same on every machine
// (little-endian ones only).
#pragma once

#include <algorithm>
#include <charconv>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "stream/value_text.h"
#include "stream/varint.h"

// Lists all fields of a struct, in the order of their bytes; one that is left out is lost on the way. Within the
// struct.
#define MILLRACE_FIELDS(Type, ...)                       \
  auto millrace_fields() {                               \
    return std::tie(__VA_ARGS__);                        \
  }                                                      \
  auto millrace_fields() const {                         \
    return std::tie(__VA_ARGS__);                        \
  }                                                      \
  static constexpr std::string_view millrace_names() {   \
    return #__VA_ARGS__;                                 \
  }                                                      \
  friend bool operator==(const Type& a, const Type& b) { \
    return a.millrace_fields() == b.millrace_fields();   \
  }

namespace millrace {

template <typename T>
concept HasFields = requires(T& value) { value.millrace_fields(); };

// The primary template has no members: a type without a codec fails the check below with a readable message.
//   static size_t size(const T&)                  bytes that encode() will write
//   static char* encode(char* at, const T&)       gives the position behind them
//   static bool decode(const char*& at, const char* end, T&)   false: no encode() wrote this; never reads past `end`
template <typename T>
struct Codec;

template <typename T>
concept Encodable = requires(T& into, const T& value, char* out, const char*& at, const char* end) {
  { Codec<T>::size(value) } -> std::convertible_to<size_t>;
  { Codec<T>::encode(out, value) } -> std::same_as<char*>;
  { Codec<T>::decode(at, end, into) } -> std::same_as<bool>;
};

// Says what is wrong with a type that has no codec; false: what needs one must not be made, or hundreds of lines of the
// compiler would follow the message.
template <typename T>
consteval bool require_codec() {
  static_assert(
      Encodable<T>,
      "millrace: this type cannot be stored or sent. Use integers, floating-point numbers, std::string, "
      "std::pair, std::tuple, std::optional, std::vector, std::map, a struct with MILLRACE_FIELDS(Type, a, b), "
      "or specialise millrace::Codec<T>; a std::string_view must become a std::string first");
  return Encodable<T>;
}

template <std::unsigned_integral T>
struct Codec<T> {
  static size_t size(T value) { return varint_size(value); }
  static char* encode(char* at, T value) { return put_varint(at, value); }
  static bool decode(const char*& at, const char* end, T& value) {
    uint64_t wide = 0;
    if (!get_varint(at, end, wide) || wide > std::numeric_limits<T>::max()) return false;
    value = static_cast<T>(wide);
    return true;
  }
};

template <>
struct Codec<bool> {
  static size_t size(bool) { return 1; }
  static char* encode(char* at, bool value) {
    *at = value ? 1 : 0;
    return at + 1;
  }
  static bool decode(const char*& at, const char* end, bool& value) {
    if (at == end || static_cast<uint8_t>(*at) > 1) return false;
    value = *at++ != 0;
    return true;
  }
};

// Zigzag: numbers near zero are short, whatever their sign.
template <std::signed_integral T>
struct Codec<T> {
  static uint64_t zigzag(T value) {
    const auto wide = static_cast<int64_t>(value);
    return (static_cast<uint64_t>(wide) << 1) ^ static_cast<uint64_t>(wide >> 63);
  }
  static size_t size(T value) { return varint_size(zigzag(value)); }
  static char* encode(char* at, T value) { return put_varint(at, zigzag(value)); }
  static bool decode(const char*& at, const char* end, T& value) {
    uint64_t bits = 0;
    if (!get_varint(at, end, bits)) return false;
    const auto wide = static_cast<int64_t>((bits >> 1) ^ (~(bits & 1) + 1));
    if (wide < std::numeric_limits<T>::min() || wide > std::numeric_limits<T>::max()) return false;
    value = static_cast<T>(wide);
    return true;
  }
};

template <typename T>
  requires std::is_enum_v<T>
struct Codec<T> {
  using Number = std::underlying_type_t<T>;
  static size_t size(T value) { return Codec<Number>::size(static_cast<Number>(value)); }
  static char* encode(char* at, T value) { return Codec<Number>::encode(at, static_cast<Number>(value)); }
  static bool decode(const char*& at, const char* end, T& value) {
    Number number{};
    if (!Codec<Number>::decode(at, end, number)) return false;
    value = static_cast<T>(number);
    return true;
  }
};

template <std::floating_point T>
  requires(sizeof(T) <= sizeof(double))  // a long double has bytes that mean nothing
struct Codec<T> {
  static size_t size(T) { return sizeof(T); }
  static char* encode(char* at, T value) {
    std::memcpy(at, &value, sizeof(T));
    return at + sizeof(T);
  }
  static bool decode(const char*& at, const char* end, T& value) {
    if (static_cast<size_t>(end - at) < sizeof(T)) return false;
    std::memcpy(&value, at, sizeof(T));
    at += sizeof(T);
    return true;
  }
};

template <>
struct Codec<std::string> {
  static size_t size(const std::string& value) { return varint_size(value.size()) + value.size(); }
  static char* encode(char* at, const std::string& value) {
    return std::copy(value.begin(), value.end(), put_varint(at, value.size()));
  }
  static bool decode(const char*& at, const char* end, std::string& value) {
    uint64_t size = 0;
    if (!get_varint(at, end, size) || size > static_cast<uint64_t>(end - at)) return false;
    value.assign(at, size);
    at += size;
    return true;
  }
};

namespace internal {

// Several values one after the other.
template <typename Tuple>
struct FieldsCodec {
  static size_t size(const Tuple& fields) {
    return std::apply(
        [](const auto&... field) { return (size_t{0} + ... + Codec<std::decay_t<decltype(field)>>::size(field)); },
        fields);
  }
  static char* encode(char* at, const Tuple& fields) {
    std::apply([&at](const auto&... field) { ((at = Codec<std::decay_t<decltype(field)>>::encode(at, field)), ...); },
               fields);
    return at;
  }
  template <typename Into>
  static bool decode(const char*& at, const char* end, Into&& fields) {
    return std::apply(
        [&](auto&... field) { return (Codec<std::decay_t<decltype(field)>>::decode(at, end, field) && ...); }, fields);
  }
};

}  // namespace internal

template <typename Tuple>
inline constexpr bool kAllEncodable = false;
template <typename... Fields>
inline constexpr bool kAllEncodable<std::tuple<Fields...>> = (Encodable<std::decay_t<Fields>> && ...);

template <HasFields T>
  requires kAllEncodable<decltype(std::declval<T&>().millrace_fields())>
struct Codec<T> {
  using Fields = internal::FieldsCodec<decltype(std::declval<const T&>().millrace_fields())>;
  static size_t size(const T& value) { return Fields::size(value.millrace_fields()); }
  static char* encode(char* at, const T& value) { return Fields::encode(at, value.millrace_fields()); }
  static bool decode(const char*& at, const char* end, T& value) {
    return Fields::decode(at, end, value.millrace_fields());
  }
};

template <Encodable... Fields>
struct Codec<std::tuple<Fields...>> : internal::FieldsCodec<std::tuple<Fields...>> {};

template <Encodable A, Encodable B>
struct Codec<std::pair<A, B>> {
  static size_t size(const std::pair<A, B>& value) {
    return Codec<A>::size(value.first) + Codec<B>::size(value.second);
  }
  static char* encode(char* at, const std::pair<A, B>& value) {
    return Codec<B>::encode(Codec<A>::encode(at, value.first), value.second);
  }
  static bool decode(const char*& at, const char* end, std::pair<A, B>& value) {
    return Codec<A>::decode(at, end, value.first) && Codec<B>::decode(at, end, value.second);
  }
};

template <Encodable T>
struct Codec<std::optional<T>> {
  static size_t size(const std::optional<T>& value) { return 1 + (value ? Codec<T>::size(*value) : 0); }
  static char* encode(char* at, const std::optional<T>& value) {
    at = Codec<bool>::encode(at, value.has_value());
    return value ? Codec<T>::encode(at, *value) : at;
  }
  static bool decode(const char*& at, const char* end, std::optional<T>& value) {
    bool present = false;
    value.reset();
    return Codec<bool>::decode(at, end, present) && (!present || Codec<T>::decode(at, end, value.emplace()));
  }
};

template <Encodable T>
struct Codec<std::vector<T>> {
  static size_t size(const std::vector<T>& values) {
    size_t bytes = varint_size(values.size());
    for (const T& value : values) bytes += Codec<T>::size(value);
    return bytes;
  }
  static char* encode(char* at, const std::vector<T>& values) {
    at = put_varint(at, values.size());
    for (const T& value : values) at = Codec<T>::encode(at, value);
    return at;
  }
  static bool decode(const char*& at, const char* end, std::vector<T>& values) {
    uint64_t size = 0;
    values.clear();
    if (!get_varint(at, end, size)) return false;
    for (; size != 0; --size) {  // No reserve(): the number may be anything.
      T value{};
      const char* const before = at;
      if (!Codec<T>::decode(at, end, value) || at == before) return false;  // or there might be elements without end
      values.push_back(std::move(value));
    }
    return true;
  }
};

template <Encodable K, Encodable V>
struct Codec<std::map<K, V>> {
  static size_t size(const std::map<K, V>& values) {
    size_t bytes = varint_size(values.size());
    for (const auto& [key, value] : values) bytes += Codec<K>::size(key) + Codec<V>::size(value);
    return bytes;
  }
  static char* encode(char* at, const std::map<K, V>& values) {
    at = put_varint(at, values.size());
    for (const auto& [key, value] : values) at = Codec<V>::encode(Codec<K>::encode(at, key), value);
    return at;
  }
  static bool decode(const char*& at, const char* end, std::map<K, V>& values) {
    uint64_t size = 0;
    values.clear();
    if (!get_varint(at, end, size)) return false;
    for (; size != 0; --size) {
      std::pair<K, V> entry;
      if (!Codec<K>::decode(at, end, entry.first) || !Codec<V>::decode(at, end, entry.second)) return false;
      if (!values.insert(std::move(entry)).second) return false;
    }
    return true;
  }
};

// What is kept of a T when the bytes it came from are gone.
template <typename T>
struct OwnedOf {
  using type = T;
};
template <>
struct OwnedOf<std::string_view> {
  using type = std::string;
};
template <typename A, typename B>
struct OwnedOf<std::pair<A, B>> {
  using type = std::pair<typename OwnedOf<A>::type, typename OwnedOf<B>::type>;
};
template <typename... Fields>
struct OwnedOf<std::tuple<Fields...>> {
  using type = std::tuple<typename OwnedOf<Fields>::type...>;
};
template <typename T>
struct OwnedOf<std::optional<T>> {
  using type = std::optional<typename OwnedOf<T>::type>;
};
template <typename T>
struct OwnedOf<std::vector<T>> {
  using type = std::vector<typename OwnedOf<T>::type>;
};
// The same, of a type as it is deduced.
template <typename T>
using Owned = typename OwnedOf<std::decay_t<T>>::type;

// --- keys --------------------------------------------------------------------------------------------------------

// Where the text of a key that is no string is written; reused from key to key.
using KeyBuffer = std::string;

// view(): the key's text, in `buffer` or in the key itself, until either changes. parse(): false for what no key gave.
// The primary template has no members, as that of Codec.
template <typename K>
struct KeyText;

template <typename K>
concept Keyable = requires(const K& key, KeyBuffer& buffer) {
  { KeyText<K>::view(key, buffer) } -> std::same_as<std::string_view>;
};

// As require_codec.
template <typename K>
consteval bool require_key() {
  static_assert(Keyable<K>,
                "millrace: a key is a string, an integer, or a std::pair or std::tuple of these; map() the values, or "
                "take key_by(), to have such keys");
  return Keyable<K>;
}

template <>
struct KeyText<std::string_view> {
  static std::string_view view(std::string_view key, KeyBuffer&) { return key; }
  static bool parse(std::string_view text, std::string_view& key) {
    key = text;
    return true;
  }
};

template <>
struct KeyText<std::string> {
  static std::string_view view(const std::string& key, KeyBuffer&) { return key; }
  static bool parse(std::string_view text, std::string& key) {
    key.assign(text);
    return true;
  }
};

template <std::integral K>
struct KeyText<K> {
  static std::string_view view(K key, KeyBuffer& buffer) {
    buffer.resize(24);
    const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), static_cast<Wide>(key));
    return {buffer.data(), end.ptr};
  }
  static bool parse(std::string_view text, K& key) {
    Wide wide{};
    const auto end = std::from_chars(text.data(), text.data() + text.size(), wide);
    if (end.ec != std::errc() || end.ptr != text.data() + text.size()) return false;
    key = static_cast<K>(wide);
    return static_cast<Wide>(key) == wide;
  }

 private:
  using Wide = std::conditional_t<std::is_signed_v<K>, int64_t, uint64_t>;
};

// Composite keys: their parts, separated by a tab; within a part a tab, a newline and a backslash are written \t, \n,
// \\.
void append_key_part(std::string& out, std::string_view part);
// Takes the first part of `rest`, unescaped, and moves on; false at the end or for a wrong escape.
bool take_key_part(std::optional<std::string_view>& rest, std::string& part);

template <Keyable... Parts>
struct KeyText<std::tuple<Parts...>> {
  static std::string_view view(const std::tuple<Parts...>& key, KeyBuffer& buffer) {
    buffer.clear();
    size_t index = 0;
    KeyBuffer part;
    std::apply(
        [&](const auto&... each) {
          ((buffer += index++ == 0 ? "" : "\t",
            append_key_part(buffer, KeyText<std::decay_t<decltype(each)>>::view(each, part))),
           ...);
        },
        key);
    return buffer;
  }
  static bool parse(std::string_view text, std::tuple<Parts...>& key) {
    std::optional<std::string_view> rest = text;
    std::string part;
    const bool parsed = std::apply(
        [&](auto&... each) {
          return ((take_key_part(rest, part) && KeyText<std::decay_t<decltype(each)>>::parse(part, each)) && ...);
        },
        key);
    return parsed && !rest;
  }
};

template <Keyable A, Keyable B>
struct KeyText<std::pair<A, B>> {
  static std::string_view view(const std::pair<A, B>& key, KeyBuffer& buffer) {
    return KeyText<std::tuple<A, B>>::view({key.first, key.second}, buffer);
  }
  static bool parse(std::string_view text, std::pair<A, B>& key) {
    std::tuple<A, B> parts;
    if (!KeyText<std::tuple<A, B>>::parse(text, parts)) return false;
    key = {std::move(std::get<0>(parts)), std::move(std::get<1>(parts))};
    return true;
  }
};

}  // namespace millrace
