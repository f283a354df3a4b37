// stream.index_by_key(): an inverted index. Per key of the pairs (key, member) all members that came since the start,
// each with how often it came. The table's value is the number of members; published, the sink and queries have the
// members of a key, too, by their counts.
//
// Of pairs (key, Posting) the counts are added; a member whose count becomes 0 goes, and so does a key without members.
//
// A key is in one state partition with all of its members. The key of a posting is of bytes of which the first part
// alone says in which one; key and member may hold any bytes:
//
//   size of the key (unsigned varint), the key's bytes, the member's bytes
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "common/base/check.h"
#include "stream/codec.h"
#include "stream/cogroup.h"
#include "stream/index_table.h"
#include "stream/layout.h"
#include "stream/pair_edge.h"
#include "stream/posting_key.h"
#include "stream/table.h"
#include "stream/varint.h"

namespace millrace {

// What is added to the count of a key's member; it may be below 0.
template <typename M>
struct Posting {
  M member;
  int64_t count;
  MILLRACE_FIELDS(Posting, member, count)
};

namespace internal {

template <typename K, typename M>
struct IndexKey {
  K key;
  M member;
};

// Of bytes that IndexKey gave.
struct RouteByIndexKey {
  static std::string_view of(std::string_view bytes) {
    PostingKey posting;
    const bool parsed = PostingKey::parse(bytes, posting);
    CHECK(parsed) << "the edge of an index writes keys of postings";
    return posting.key;
  }
};
template <typename K, typename M>
struct RouteOf<IndexKey<K, M>> {
  using type = RouteByIndexKey;
};

// What a stream of these values indexes.
template <typename V>
struct IndexedMember {
  using Member = V;
  static constexpr bool kSigned = false;
  static const V& member(const V& value) { return value; }
  static const V& member(const V&& gone) = delete;
  static int64_t count(const V& /*value*/) { return 1; }
};
template <typename M>
struct IndexedMember<Posting<M>> {
  using Member = M;
  static constexpr bool kSigned = true;
  static const M& member(const Posting<M>& value) { return value.member; }
  static int64_t count(const Posting<M>& value) { return value.count; }
};

// The table behind a stream of pairs.
struct IndexPairs {
  template <typename Pairs>
  static auto of(const Pairs& pairs, const std::string& name) {
    using T = typename Pairs::Value;
    if constexpr (require_pairs<T>()) {
      using K = typename PairOf<T>::Key;
      using Member = IndexedMember<typename PairOf<T>::Value>;
      using M = typename Member::Member;
      StateId state{};
      if constexpr (require_key<K>() && require_key<M>()) {
        if (Member::kSigned) pairs.graph_->remove_keys();
        pairs
            .mapped(
                [](const T& pair) noexcept(std::is_nothrow_copy_constructible_v<T>) {
                  return std::pair(IndexKey<K, M>{pair.first, Member::member(pair.second)}, Member::count(pair.second));
                },
                nullptr)
            .template close<int64_t>(WrappingSum());
        state = pairs.graph_->add_state(name, layout_of<Owned<K>>(), "index_by_key", [](size_t rank_size) {
          return make_state<IndexTable>(rank_size, layout_of<Owned<M>>());
        });
        pairs.graph_->set_index(state);
      }
      return Table<Owned<K>, int64_t>(pairs.graph_, state);
    }
  }
};

}  // namespace internal

template <Keyable K, Keyable M>
struct KeyText<internal::IndexKey<K, M>> {
  static std::string_view view(const internal::IndexKey<K, M>& posting, KeyBuffer& buffer) {
    KeyBuffer part;
    const std::string_view key = KeyText<K>::view(posting.key, part);
    char size[kMaxVarintBytes];
    buffer.assign(size, put_varint(size, key.size()));
    buffer += key;
    buffer += KeyText<M>::view(posting.member, part);
    return buffer;
  }
};

}  // namespace millrace
