#include "stream/versioned_table.h"

#include "common/base/text.h"
#include "stream/pair_section.h"

namespace millrace::internal {

Status unreadable_section(size_t index, BatchId batch, size_t position) {
  return fail(ErrorCode::kCorrupt, "section " + std::to_string(index) + " of batch " + std::to_string(batch.value()) +
                                       " does not parse near byte " + std::to_string(position) +
                                       "; the partition must be restored");
}

Status unreadable_value(const StateRun::Entry& entry) {
  return fail(ErrorCode::kCorrupt, "the checkpoint's value of key '" + printable(entry.key.substr(0, 64)) +
                                       "' does not parse (" + std::to_string(entry.value.size()) +
                                       " bytes); was it written by another type of job?");
}

std::vector<ByteSlot> slots_by_key(std::vector<std::pair<std::string_view, ByteSlot>> keys) {
  std::ranges::sort(keys);
  std::vector<ByteSlot> slots;
  slots.reserve(keys.size());
  for (const auto& [key, slot] : keys) slots.push_back(slot);
  return slots;
}

}  // namespace millrace::internal
