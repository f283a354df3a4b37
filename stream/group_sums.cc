#include "stream/group_sums.h"

#include <stdexcept>
#include <string>

#include "stream/pair_section.h"

namespace millrace::internal {

template class VersionedTable<GroupSum>;

Status GroupSumTable::apply(const BatchContext& context, std::span<const std::string_view> sections) {
  begin_batch(context.batch);
  Status status = read_sections<GroupSum>(
      context.batch, sections, [this](const HashedKey& key) { prefetch(key); },
      [this](const HashedKey& key, GroupSum& sum) { add(key, sum); });
  if (status) end_batch();
  return status;
}

// Those that leave a group in a batch were in it before, so there are never too few.
void GroupSumTable::add(const HashedKey& key, const GroupSum& sum) {
  if (sum.keys == 0 && sum.sum == 0) return;  // what came made up for what left
  const ByteSlot slot = open(key);
  GroupSum after = live(slot) ? value(slot) : GroupSum{};
  AddGroupSum()(after, sum);
  if (after.keys < 0 || (after.keys == 0 && after.sum != 0)) {
    throw std::logic_error("more is taken off the group '" + std::string(key.bytes) +
                           "' than was added to it; what count_by() and sum_by() are given must depend on its "
                           "arguments alone");
  }
  if (after.keys == 0) {
    remove(slot);
  } else {
    set(slot, GroupSum(after));
  }
}

}  // namespace millrace::internal
