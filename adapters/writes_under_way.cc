#include "adapters/writes_under_way.h"

#include <algorithm>
#include <string>
#include <tuple>
#include <utility>

#include "common/base/check.h"

namespace millrace {
namespace {

constexpr size_t kRecordBytes = 100;  // what a record takes besides its bytes, roughly

// Where a part of a request is stored, it does not help to send all of it again.
Error explained(Error error, const std::vector<WrittenRange>& stored) {
  int64_t records = 0;
  for (const WrittenRange& range : stored) records += range.count;
  if (records == 0) return error;
  if (error.code == ErrorCode::kUnavailable) error.code = ErrorCode::kTimeout;
  error.message += "; of the other records of this request " + std::to_string(records) + " are stored";
  return error;
}

}  // namespace

std::vector<WrittenRange> WritesUnderWay::joined(std::vector<WrittenRange> ranges) {
  std::ranges::sort(ranges, {}, [](const WrittenRange& range) { return std::tuple(range.partition, range.first); });
  std::vector<WrittenRange> all;
  for (const WrittenRange& range : ranges) {
    if (!all.empty() && all.back().partition == range.partition &&
        all.back().first.value() + all.back().count == range.first.value()) {
      all.back().count += range.count;
    } else {
      all.push_back(range);
    }
  }
  return all;
}

WritesUnderWay::~WritesUnderWay() {
  CHECK(writes_.empty()) << writes_.size() << " writes were not answered";
}

size_t WritesUnderWay::bytes_of(const WriteRequest& request) {
  size_t bytes = 0;
  for (const KeyedRecord& record : request.records) {
    bytes += kRecordBytes + record.value.size() + (record.key ? record.key->size() : 0);
  }
  return bytes;
}

WritesUnderWay::Write* WritesUnderWay::begin(size_t bytes, size_t parts, RecordWriter::Done done) {
  std::unique_lock lock(mutex_);
  if (bytes_ + bytes > most_bytes_) {
    lock.unlock();
    done(fail(ErrorCode::kUnavailable,
              "as much as may be is under way to the log; nothing of this is stored, send it "
              "again a little later"));
    return nullptr;
  }
  bytes_ += bytes;
  Write& write = writes_.emplace_back();
  write.begin_ = std::chrono::steady_clock::now();
  write.bytes_ = bytes;
  write.parts_left_ = parts;
  write.done_ = std::move(done);
  write.self_ = std::prev(writes_.end());
  return &write;
}

template <typename Note>
void WritesUnderWay::end_part(Write* write, Note note) {
  std::list<Write> ended;
  {
    const std::scoped_lock lock(mutex_);
    note(*write);
    if (--write->parts_left_ > 0) return;
    bytes_ -= write->bytes_;
    ended.splice(ended.begin(), writes_, write->self_);
  }
  if (!write->error_) return write->done_(joined(std::move(write->ranges_)));
  write->done_(std::unexpected(explained(std::move(*write->error_), write->ranges_)));
}

void WritesUnderWay::stored(Write* write, const std::vector<WrittenRange>& ranges) {
  end_part(write, [&](Write& one) { one.ranges_.insert(one.ranges_.end(), ranges.begin(), ranges.end()); });
}

void WritesUnderWay::failed(Write* write, const Error& error) {
  end_part(write, [&](Write& one) {
    if (!one.error_) one.error_ = error;
  });
}

Duration WritesUnderWay::oldest_wait() const {
  const std::scoped_lock lock(mutex_);
  if (writes_.empty()) return {};
  return std::chrono::steady_clock::now() - writes_.front().begin_;
}

}  // namespace millrace
