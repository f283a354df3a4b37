// The pairs of an edge for one state partition, as PairEdge and ListedPairs write them (numbers are unsigned varints):
//
//   number of pairs, then for each pair:
//     size of the key, the key's bytes, the value as Codec<Value> encodes it
#pragma once

#include <algorithm>
#include <array>
#include <span>
#include <string_view>
#include <type_traits>

#include "stream/byte_table.h"
#include "stream/codec.h"
#include "stream/job.h"
#include "stream/varint.h"

namespace millrace::internal {

// kCorrupt.
Status unreadable_section(size_t index, BatchId batch, size_t position);

// Reads pairs in groups: first all of one are parsed and `prefetch(HashedKey)` is called, then `take(HashedKey,
// Value&)`, which may say by false that the key is none. False: that, or the section ends early or late, or a value
// does not parse; `at` is then near the place.
template <typename Value, typename Prefetch, typename Take>
bool read_pairs(const char*& at, const char* end, Prefetch&& prefetch, Take&& take) {
  constexpr size_t kGroup = 32;
  struct Pair {
    HashedKey key;
    Value value;
  };
  std::array<Pair, kGroup> group;
  uint64_t pairs = 0;
  if (!get_varint(at, end, pairs)) return false;
  while (pairs != 0) {
    const size_t size = std::min<uint64_t>(pairs, kGroup);
    for (size_t i = 0; i < size; ++i) {
      uint64_t key_size = 0;
      if (!get_varint(at, end, key_size) || key_size > static_cast<uint64_t>(end - at)) return false;
      group[i].key = HashedKey::of(std::string_view(at, key_size));
      at += key_size;
      group[i].value = Value{};
      if (!Codec<Value>::decode(at, end, group[i].value)) return false;
      prefetch(group[i].key);
    }
    for (size_t i = 0; i < size; ++i) {
      if constexpr (std::is_same_v<std::invoke_result_t<Take&, const HashedKey&, Value&>, bool>) {
        if (!take(group[i].key, group[i].value)) return false;
      } else {
        take(group[i].key, group[i].value);
      }
    }
    pairs -= size;
  }
  return at == end;
}

// The same for all sections of a batch, in order.
template <typename Value, typename Prefetch, typename Take>
Status read_sections(BatchId batch, std::span<const std::string_view> sections, Prefetch&& prefetch, Take&& take) {
  for (size_t index = 0; index < sections.size(); ++index) {
    const char* const begin = sections[index].data();
    const char* at = begin;
    if (!read_pairs<Value>(at, begin + sections[index].size(), prefetch, take)) {
      return unreadable_section(index, batch, static_cast<size_t>(at - begin));
    }
  }
  return {};
}

}  // namespace millrace::internal
