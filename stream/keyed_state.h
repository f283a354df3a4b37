// KeyedStateTable: per key all values since the start, merged.
#pragma once

#include <span>
#include <string_view>
#include <utility>

#include "stream/pair_section.h"
#include "stream/versioned_table.h"

namespace millrace::internal {

// `Merge`: void(Value& into, const Value& from), associative; commutative too where the edge combines.
template <typename Value, typename Merge>
class KeyedStateTable final : public VersionedTable<Value> {
 public:
  explicit KeyedStateTable(size_t rank_size, Merge merge = {})
      : VersionedTable<Value>(rank_size), merge_(std::move(merge)) {}

  Status apply(const BatchContext& context, std::span<const std::string_view> sections) override {
    this->begin_batch(context.batch);
    for (size_t index = 0; index < sections.size(); ++index) {
      const char* const begin = sections[index].data();
      const char* at = begin;
      if (!read_pairs<Value>(
              at, begin + sections[index].size(), [this](const HashedKey& key) { this->prefetch(key); },
              [this](const HashedKey& key, Value& by) { merge(key, by); })) {
        return unreadable_section(index, context.batch, static_cast<size_t>(at - begin));
      }
    }
    this->end_batch();
    return {};
  }

 private:
  [[gnu::noinline]] void merge(const HashedKey& key, Value& by) {
    this->change(this->open(key), [&](Value& value, bool fresh) {
      if (fresh) {
        value = std::move(by);
      } else {
        merge_(value, by);
      }
    });
  }

  [[no_unique_address]] const Merge merge_;
};

}  // namespace millrace::internal
