#include "stream/append_output.h"

#include <exception>
#include <new>

#include "common/model/csv.h"
#include "stream/varint.h"

namespace millrace::internal {

void append_csv(std::string& line, std::string_view column) {
  append_csv_column(line, column);
}

Status AppendTable::apply(const BatchContext& context, std::span<const std::string_view> sections) {
  records_ = 0;
  bytes_.clear();
  for (const std::string_view section : sections) {
    const char* at = section.data();
    const char* const end = at + section.size();
    uint64_t records = 0;
    if (!get_varint(at, end, records)) return fail(ErrorCode::kCorrupt, "a piece of an output does not parse");
    records_ += static_cast<int64_t>(records);
    bytes_.append(at, end);
  }
  if (records_ > 0) previous_ = std::exchange(newest_, context.batch);
  return {};
}

void AppendTable::freeze(StatePartition self, StateRun& run) {
  frozen_ = newest_;
  if (newest_ == kept_) return;
  char bytes[kMaxVarintBytes];
  const char* const end = put_varint(bytes, static_cast<uint64_t>(newest_.value()));
  run.add(self, "", {bytes, end});
}

Status AppendTable::restore(const StateRun::Entry& entry, bool) {
  const char* at = entry.value.data();
  const char* const end = at + entry.value.size();
  uint64_t newest = 0;
  if (!entry.key.empty() || !get_varint(at, end, newest) || at != end) {
    return fail(ErrorCode::kCorrupt, "what the checkpoint has of an output is no batch's number");
  }
  newest_ = kept_ = BatchId(static_cast<int64_t>(newest));
  return {};
}

Status call_batch_function(const std::function<void()>& function) {
  try {
    function();
    return {};
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& problem) {
    return fail(ErrorCode::kInvalid, problem.what());
  } catch (...) {
    return fail(ErrorCode::kInvalid, "something that is no std::exception");
  }
}

}  // namespace millrace::internal
