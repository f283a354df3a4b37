// IndexTable: what stands behind stream.index_by_key(): per key its members, each with a count, the sum of what came of
// it. A member whose count is 0 is none. What readers see of a key is the number of its members; a page of them is
// asked for by members(). Owned by one lane and used by its thread only.
//
// Postings keep a count for each key and member, and are what is in checkpoints. Beside them stands per key the list of
// all cells of its members, dead ones too: a cell joins the list when it is made and leaves it when it is dropped, so
// whatever an older batch can be asked for is in the list. A page looks at all cells of its key and keeps the
// best only: that takes some 0.1 s for a million of them, in which the lane does nothing else.
//
// Memory of a posting: a cell of 32 bytes in a table that is between three and six eighths full, 4 to 8 bytes in the
// list, and the bytes of key and member where these are 15 or more.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "stream/byte_table.h"
#include "stream/keyed_state.h"
#include "stream/posting_key.h"
#include "stream/window_table.h"

namespace millrace::internal {

class Postings final : public VersionedTable<int64_t> {
 public:
  using ListNumber = uint32_t;

  // `layout`: of the members.
  explicit Postings(std::string layout) : VersionedTable(0), layout_(std::move(layout)) {}

  Status apply(const BatchContext& context, std::span<const std::string_view> sections) override;
  Status restore(const StateRun::Entry& entry, bool unpublished) override;
  void finish_restore(int64_t tick_ms) override;
  [[nodiscard]] std::string layout() const override { return "members " + layout_ + ": int64"; }
  [[nodiscard]] int64_t memory_bytes() const override;

  // The lists whose number of members the newest batch may have changed.
  [[nodiscard]] std::span<const ListNumber> resized() const { return resized_; }
  // Lists that have members.
  template <typename Function>
  void for_each_list(Function&& function) const {
    for (ListNumber number = 0; number < lists_.size(); ++number) {
      if (lists_[number].members != 0) function(number);
    }
  }
  // Lists that have members, or had, which the sink may lack.
  [[nodiscard]] std::vector<ListNumber> unpublished_lists() const;
  // Until the next batch.
  [[nodiscard]] std::string_view list_key(ListNumber number) const { return numbers_.key(lists_[number].slot); }
  [[nodiscard]] int64_t list_size(ListNumber number) const { return lists_[number].members; }

  // Of a publication that was opened, entries of what has changed; or, of all, those of the list's members.
  using VersionedTable::open_publication;
  void add_changed(std::vector<SinkEntry>& entries) const;
  void add_members(ListNumber number, std::vector<SinkEntry>& entries) const;

  [[nodiscard]] std::vector<IndexMember> page(std::string_view key, const std::optional<IndexMember>& after, size_t n,
                                              BatchId at) const;

 private:
  struct List {
    ByteSlot slot = kNoByteSlot;  // in numbers_; none: it is free
    bool resized = false;         // stands in resized_
    int64_t members = 0;
    std::vector<ByteSlot> cells;  // in the order in which they were made; those of live members and of dead ones
  };

  void add(const HashedKey& posting, int64_t count);
  void resize(ListNumber number, int64_t by);
  [[nodiscard]] ListNumber list_of(ByteSlot cell);
  [[nodiscard]] std::string_view member(ByteSlot cell) const;
  [[nodiscard]] SinkEntry member_entry(ByteSlot cell) const;
  void slots_moved(std::span<const ByteSlot> moved) override;

  const std::string layout_;
  ByteTable<ListNumber> numbers_;  // one more than the place in lists_; 0: it has none now
  std::vector<List> lists_;
  std::vector<ListNumber> free_, resized_;
};

class IndexTable final : public VersionedTable<int64_t, false> {
 public:
  IndexTable(size_t rank_size, std::string layout) : VersionedTable(rank_size), postings_(std::move(layout)) {}

  Status apply(const BatchContext& context, std::span<const std::string_view> sections) override;
  [[nodiscard]] bool changed() const override { return postings_.changed(); }
  void forget_undo(BatchId applied) override;
  [[nodiscard]] std::vector<IndexMember> members(std::string_view key, const std::optional<IndexMember>& after,
                                                 size_t n, BatchId at) const override {
    return postings_.page(key, after, n, at);
  }

  [[nodiscard]] bool must_publish_all() const override {
    return VersionedTable::must_publish_all() || postings_.must_publish_all();
  }
  [[nodiscard]] std::vector<SinkEntry> take_unpublished(bool all) override;
  void settle_publication(bool done) override {
    VersionedTable::settle_publication(done);
    postings_.settle_publication(done);
  }

  void freeze(StatePartition self, StateRun& run) override { postings_.freeze(self, run); }
  bool freeze_more(StatePartition self, StateRun& run, size_t keys) override {
    return postings_.freeze_more(self, run, keys);
  }
  void settle_freeze(bool complete) override { postings_.settle_freeze(complete); }
  Status restore_from(const std::vector<StatePlan>& stored) override { return postings_.restore_from(stored); }
  Status restore(const StateRun::Entry& entry, bool unpublished) override {
    return postings_.restore(entry, unpublished);
  }
  void finish_restore(int64_t tick_ms) override;
  [[nodiscard]] std::string layout() const override { return postings_.layout(); }

  [[nodiscard]] int64_t memory_bytes() const override {
    return postings_.memory_bytes() + VersionedTable::memory_bytes();
  }

 private:
  Postings postings_;
};

}  // namespace millrace::internal
