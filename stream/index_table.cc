#include "stream/index_table.h"

#include <algorithm>

#include "stream/pair_section.h"

namespace millrace::internal {
namespace {

// How the members of a key are ordered.
bool member_before(int64_t count, std::string_view member, int64_t other_count, std::string_view other) {
  return count != other_count ? count > other_count : member < other;
}

}  // namespace

Status Postings::apply(const BatchContext& context, std::span<const std::string_view> sections) {
  for (const ListNumber number : resized_) lists_[number].resized = false;
  resized_.clear();
  begin_batch(context.batch);
  Status status = read_sections<int64_t>(
      context.batch, sections, [this](const HashedKey& key) { prefetch(key); },
      [this](const HashedKey& key, int64_t& count) {
        PostingKey posting;
        if (!PostingKey::parse(key.bytes, posting)) return false;
        add(key, count);
        return true;
      });
  if (!status) return status;
  end_batch();
  return {};
}

void Postings::add(const HashedKey& posting, int64_t count) {
  if (count == 0) return;
  ByteSlot cell = find(posting);
  ListNumber number = 0;
  if (cell == kNoByteSlot) {
    cell = open(posting);
    number = list_of(cell);
    lists_[number].cells.push_back(cell);
  }
  const bool was = live(cell);
  int64_t sum = was ? value(cell) : 0;
  WrappingSum()(sum, count);
  if (sum == 0) {
    remove(cell);
  } else {
    change(cell, [sum](int64_t& into, bool) { into = sum; });
  }
  if (was != (sum != 0)) resize(list_of(cell), was ? -1 : 1);
}

void Postings::resize(ListNumber number, int64_t by) {
  List& list = lists_[number];
  list.members += by;
  if (list.resized) return;
  list.resized = true;
  resized_.push_back(number);
}

// That of the cell's key, a new one where there is none.
Postings::ListNumber Postings::list_of(ByteSlot cell) {
  PostingKey posting;
  const bool parsed = PostingKey::parse(key(cell), posting);
  CHECK(parsed) << "what is no key of a posting was refused";
  const ByteSlot slot = numbers_
                            .find_or_insert(HashedKey::of(posting.key),
                                            [this] {
                                              const std::vector<ByteSlot> moved = numbers_.rebuild(
                                                  [this](ByteSlot each) { return numbers_.value(each) != 0; });
                                              for (List& list : lists_) {
                                                if (list.slot != kNoByteSlot) list.slot = moved[list.slot];
                                              }
                                            })
                            .slot;
  if (numbers_.value(slot) != 0) return numbers_.value(slot) - 1;
  ListNumber number = 0;
  if (free_.empty()) {
    number = static_cast<ListNumber>(lists_.size());
    lists_.emplace_back();
  } else {
    number = free_.back();
    free_.pop_back();
  }
  lists_[number].slot = slot;
  numbers_.value(slot) = number + 1;
  return number;
}

std::string_view Postings::member(ByteSlot cell) const {
  PostingKey posting;
  PostingKey::parse(key(cell), posting);
  return posting.member;
}

// What the newest batch has changed is named by its list of old values, so no list that was resized becomes free here.
void Postings::slots_moved(std::span<const ByteSlot> moved) {
  for (ListNumber number = 0; number < lists_.size(); ++number) {
    List& list = lists_[number];
    if (list.slot == kNoByteSlot) continue;
    for (ByteSlot& cell : list.cells) cell = moved[cell];
    std::erase(list.cells, kNoByteSlot);
    if (list.cells.capacity() > 4 * list.cells.size()) list.cells.shrink_to_fit();
    if (!list.cells.empty()) continue;
    numbers_.value(list.slot) = 0;
    list = {};
    free_.push_back(number);
  }
}

Status Postings::restore(const StateRun::Entry& entry, bool unpublished) {
  PostingKey posting;
  if (!PostingKey::parse(entry.key, posting)) return unreadable_value(entry);
  return VersionedTable::restore(entry, unpublished);
}

void Postings::finish_restore(int64_t /*tick_ms*/) {
  for (size_t index = 0; index < cells().capacity(); ++index) {
    const auto cell = static_cast<ByteSlot>(index);
    if (!cells().used(cell)) continue;
    List& list = lists_[list_of(cell)];
    list.cells.push_back(cell);
    if (live(cell)) ++list.members;
  }
}

std::vector<Postings::ListNumber> Postings::unpublished_lists() const {
  std::vector<ListNumber> lists;
  cells().visit(unpublished(), [&](ByteSlot cell) {
    PostingKey posting;
    PostingKey::parse(key(cell), posting);
    const ByteSlot slot = numbers_.find(HashedKey::of(posting.key));
    lists.push_back(numbers_.value(slot) - 1);
  });
  std::ranges::sort(lists);
  const auto same = std::ranges::unique(lists);
  lists.erase(same.begin(), same.end());
  return lists;
}

SinkEntry Postings::member_entry(ByteSlot cell) const {
  PostingKey posting;
  PostingKey::parse(key(cell), posting);
  return {.key = std::string(posting.key.data(), posting.key.size() + posting.member.size()),
          .text = {},
          .score = live(cell) ? static_cast<double>(value(cell)) : 0,
          .removed = !live(cell),
          .member_at = static_cast<uint32_t>(posting.key.size())};
}

void Postings::add_changed(std::vector<SinkEntry>& entries) const {
  entries.reserve(entries.size() + publishing().size());
  cells().visit(publishing(), [&](ByteSlot cell) { entries.push_back(member_entry(cell)); });
}

void Postings::add_members(ListNumber number, std::vector<SinkEntry>& entries) const {
  cells().visit(lists_[number].cells, [&](ByteSlot cell) {
    if (live(cell)) entries.push_back(member_entry(cell));
  });
}

std::vector<IndexMember> Postings::page(std::string_view key_bytes, const std::optional<IndexMember>& after, size_t n,
                                        BatchId at) const {
  struct Item {
    int64_t count;
    ByteSlot cell;
  };
  const ByteSlot slot = numbers_.find(HashedKey::of(key_bytes));
  if (slot == kNoByteSlot || numbers_.value(slot) == 0 || n == 0) return {};
  const auto before = [this](const Item& a, const Item& b) {
    if (a.count != b.count) return a.count > b.count;
    return member(a.cell) < member(b.cell);
  };
  std::vector<Item> best;  // a heap, its front the last in order
  cells().visit(lists_[numbers_.value(slot) - 1].cells, [&](ByteSlot cell) {
    const int64_t* const count = value_at(cell, at);
    if (count == nullptr) return;
    const Item item{*count, cell};
    if (after && !member_before(after->count, after->member, item.count, member(cell))) return;
    if (best.size() == n) {
      if (!before(item, best.front())) return;
      std::ranges::pop_heap(best, before);
      best.pop_back();
    }
    best.push_back(item);
    std::ranges::push_heap(best, before);
  });
  std::ranges::sort_heap(best, before);
  std::vector<IndexMember> page;
  page.reserve(best.size());
  for (const Item& item : best) page.push_back({std::string(member(item.cell)), item.count});
  return page;
}

int64_t Postings::memory_bytes() const {
  // A list grows to twice what it holds; asked for often, so not by walking all of them.
  const size_t bytes = numbers_.memory_bytes() + lists_.capacity() * sizeof(List) +
                       2 * static_cast<size_t>(keys()) * sizeof(ByteSlot) +
                       (free_.capacity() + resized_.capacity()) * sizeof(ListNumber);
  return static_cast<int64_t>(bytes) + VersionedTable::memory_bytes();
}

Status IndexTable::apply(const BatchContext& context, std::span<const std::string_view> sections) {
  begin_batch(context.batch);
  if (Status status = postings_.apply(context, sections); !status) return status;
  for (const auto number : postings_.resized()) {
    const HashedKey key = HashedKey::of(postings_.list_key(number));
    const int64_t members = postings_.list_size(number);
    if (members == 0) {
      if (const ByteSlot slot = find(key); slot != kNoByteSlot) remove(slot);
      continue;
    }
    const ByteSlot slot = open(key);
    if (!live(slot) || value(slot) != members) {
      change(slot, [members](int64_t& into, bool) { into = members; });
    }
  }
  end_batch();
  return {};
}

std::vector<SinkEntry> IndexTable::take_unpublished(bool all) {
  std::vector<SinkEntry> entries;
  open_publication(all);
  postings_.open_publication(all);
  if (!all) {
    cells().visit(publishing(), [&](ByteSlot slot) { add_entry(slot, entries); });
    postings_.add_changed(entries);
    return entries;
  }
  entries.reserve(static_cast<size_t>(keys() + postings_.keys()));
  postings_.for_each_list([&](Postings::ListNumber number) {
    add_entry(find(HashedKey::of(postings_.list_key(number))), entries);
    postings_.add_members(number, entries);
  });
  return entries;
}

void IndexTable::forget_undo(BatchId applied) {
  postings_.forget_undo(applied);
  VersionedTable::forget_undo(applied);
}

void IndexTable::finish_restore(int64_t tick_ms) {
  postings_.finish_restore(tick_ms);
  postings_.for_each_list([this](Postings::ListNumber number) {
    set_restored(open(HashedKey::of(postings_.list_key(number))), postings_.list_size(number));
  });
  for (const Postings::ListNumber number : postings_.unpublished_lists()) {
    unpublish(open(HashedKey::of(postings_.list_key(number))));
  }
}

}  // namespace millrace::internal
