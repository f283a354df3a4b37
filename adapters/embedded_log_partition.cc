#include "adapters/embedded_log_partition.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <iterator>

#include "common/base/byte_order.h"
#include "common/base/check.h"
#include "common/model/record_batch.h"

namespace millrace {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMostGroupBytes = 64 << 20;

Status write_at(int descriptor, std::string_view bytes, uint64_t position, const fs::path& path) {
  while (!bytes.empty()) {
    const ssize_t written = pwrite(descriptor, bytes.data(), bytes.size(), static_cast<off_t>(position));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return io_error("cannot append to", path, errno);
    bytes.remove_prefix(static_cast<size_t>(written));
    position += static_cast<uint64_t>(written);
  }
  return {};
}

}  // namespace

EmbeddedLogPartition::EmbeddedLogPartition(fs::path folder, LogPartition partition, const EmbeddedLogOptions& options,
                                           const Clock& clock, std::shared_ptr<Announcement> announcement)
    : folder_(std::move(folder)),
      partition_(partition),
      options_(options),
      clock_(clock),
      announcement_(std::move(announcement)) {}

Result<std::unique_ptr<EmbeddedLogPartition>> EmbeddedLogPartition::open(fs::path folder, LogPartition partition,
                                                                         const EmbeddedLogOptions& options,
                                                                         const Clock& clock,
                                                                         std::shared_ptr<Announcement> announcement) {
  std::unique_ptr<EmbeddedLogPartition> opened(
      new EmbeddedLogPartition(std::move(folder), partition, options, clock, std::move(announcement)));
  if (Status status = opened->recover(); !status) return std::unexpected(status.error());
  return opened;
}

Status EmbeddedLogPartition::recover() {
  const auto bases = list_segments(folder_);
  if (!bases) return std::unexpected(bases.error());
  if (bases->empty()) {
    if (Status complete = check_durable_end(folder_); !complete) return complete;
    if (Status begun = begin_segment(); !begun) return begun;
    announce();
    return {};
  }
  if (Status restored = restore_producers(*bases); !restored) return restored;
  for (const Offset base : *bases) {
    const fs::path path = segment_path(folder_, base);
    struct stat facts{};
    if (stat(path.c_str(), &facts) != 0) return io_error("cannot look at", path, errno);
    segments_.push_back({base, static_cast<uint64_t>(facts.st_size), int64_t{facts.st_mtime} * 1000});
  }
  Segment& active = segments_.back();
  const fs::path path = segment_path(folder_, active.base);
  const auto whole = scan(active.base, true);
  if (!whole) return std::unexpected(whole.error());
  if (Status complete = check_durable_end(path); !complete) return complete;
  file_ = FileDescriptor(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!file_.valid()) return io_error("cannot open", path, errno);
  if (*whole < active.bytes) {
    LOG(WARNING) << path << ": cutting off " << active.bytes - *whole << " bytes of an append that was not completed";
    if (ftruncate(file_.get(), static_cast<off_t>(*whole)) != 0) return io_error("cannot cut", path, errno);
    active.bytes = *whole;
  }
  if (fsync(file_.get()) != 0) return io_error("cannot sync", path, errno);
  announce();
  remove_old_segments();
  return {};
}

Status EmbeddedLogPartition::check_durable_end(const fs::path& place) const {
  const Offset durable = announcement_->least_end(partition_);
  if (durable <= end_) return {};
  return fail(ErrorCode::kCorrupt, place.string() + " verifies up to offset " + std::to_string(end_.value()) +
                                       " only, but what is before offset " + std::to_string(durable.value()) +
                                       " was durable; restore it from a copy");
}

Status EmbeddedLogPartition::restore_producers(const std::vector<Offset>& bases) {
  std::ifstream saved(producers_path(folder_, bases.back()), std::ios::binary);
  if (saved) {
    const std::string bytes((std::istreambuf_iterator<char>(saved)), std::istreambuf_iterator<char>());
    if (auto table = ProducerTable::decode(bytes)) {
      producers_ = std::move(*table);
      return {};
    }
  }
  for (const Offset base : bases) {
    if (base == bases.back()) break;
    if (const auto scanned = scan(base, false); !scanned) return std::unexpected(scanned.error());
  }
  return {};
}

Result<uint64_t> EmbeddedLogPartition::scan(Offset base, bool verify) {
  const fs::path path = segment_path(folder_, base);
  std::error_code error;
  const uint64_t size = fs::file_size(path, error);
  if (error) return io_error("cannot look at", path, error.value());
  end_ = base;
  if (size == 0) return 0;
  const auto mapping = FileMapping::map(path, size);
  if (!mapping) return std::unexpected(mapping.error());
  RecordBatchCursor batches({(*mapping)->data(), size});
  uint64_t whole = 0;
  for (RecordBatchView batch; batches.next(batch);) {
    if (batch.base_offset() != end_ || (verify && !batch.crc_matches())) break;
    const AppendIdentity identity = ProducerTable::identity(batch);
    if (identity.producer_id != 0) producers_.remember(identity, {batch.base_offset(), batch.next_offset()});
    end_ = batch.next_offset();
    whole = batches.position();
  }
  return whole;
}

Result<OffsetRange> EmbeddedLogPartition::append(std::string batch, int32_t records, AppendIdentity identity) {
  const bool numbered = identity.producer_id != 0;
  const std::pair key(identity.producer_id, identity.sequence);
  auto append = std::make_shared<Append>(std::move(batch), records, identity);
  std::unique_lock lock(mutex_);
  if (numbered) {
    changed_.wait(lock, [&] { return !under_way_.contains(key); });
    const auto known = producers_.find(identity);
    if (!known) return std::unexpected(known.error());
    if (*known) return **known;
    under_way_.insert(key);
  }
  waiting_.push_back(append);
  while (!append->done) {
    if (committing_) {
      changed_.wait(lock);
      continue;
    }
    committing_ = true;
    const Group group = take_group();
    lock.unlock();
    const Status status = commit(group);
    lock.lock();
    for (const auto& member : group) {
      member->status = status;
      member->done = true;
      if (member->identity.producer_id == 0) continue;
      if (status) producers_.remember(member->identity, member->range);
      under_way_.erase({member->identity.producer_id, member->identity.sequence});
    }
    committing_ = false;
    changed_.notify_all();
  }
  if (!append->status) return std::unexpected(append->status.error());
  return append->range;
}

EmbeddedLogPartition::Group EmbeddedLogPartition::take_group() {
  Group group;
  size_t bytes = 0;
  while (!waiting_.empty() && (group.empty() || bytes + waiting_.front()->batch.size() <= kMostGroupBytes)) {
    bytes += waiting_.front()->batch.size();
    group.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
  }
  return group;
}

Status EmbeddedLogPartition::commit(const Group& group) {
  uint64_t bytes = 0;
  Offset next = end_;
  for (const auto& append : group) {
    append->range = {next, Offset(next.value() + append->records)};
    store_big(append->batch.data(), next.value());  // the base offset, which the checksum leaves out
    next = append->range.to;
    bytes += append->batch.size();
  }
  if (Status begun = begin_segment_if_needed(bytes); !begun) return begun;
  Segment& active = segments_.back();
  const fs::path path = segment_path(folder_, active.base);
  uint64_t position = active.bytes;
  for (const auto& append : group) {
    if (Status written = write_at(file_.get(), append->batch, position, path); !written) {
      write_failed(false);
      return written;
    }
    position += append->batch.size();
  }
  if (fdatasync(file_.get()) != 0) {
    const Status failed = io_error("cannot sync", path, errno);
    write_failed(true);
    return failed;
  }
  active.bytes = position;
  active.newest_ms = clock_.wall_now().unix_ms;
  end_ = next;
  announce();
  return {};
}

void EmbeddedLogPartition::write_failed(bool in_sync) {
  const Segment& active = segments_.back();
  const bool cut = ftruncate(file_.get(), static_cast<off_t>(active.bytes)) == 0;
  must_begin_segment_ = must_begin_segment_ || in_sync || !cut;
}

Status EmbeddedLogPartition::begin_segment_if_needed(uint64_t bytes) {
  const uint64_t used = segments_.back().bytes;
  if (used > 0 && used + bytes > options_.segment_bytes) must_begin_segment_ = true;  // until it was
  if (!must_begin_segment_) return {};
  // A segment that is complete must end with its last whole batch, for its readers go to its end.
  if (ftruncate(file_.get(), static_cast<off_t>(used)) != 0 || fdatasync(file_.get()) != 0) {
    return io_error("cannot cut", segment_path(folder_, segments_.back().base), errno);
  }
  if (Status begun = begin_segment(); !begun) return begun;
  must_begin_segment_ = false;
  remove_old_segments();
  return {};
}

Status EmbeddedLogPartition::begin_segment() {
  const fs::path path = segment_path(folder_, end_);
  // One that failed before its first batch has the same name; no reader has mapped it.
  const bool again = !segments_.empty() && segments_.back().base == end_;
  if (again && unlink(path.c_str()) != 0 && errno != ENOENT) return io_error("cannot remove", path, errno);
  FileDescriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!file.valid()) return io_error("cannot make", path, errno);
  if (end_ > Offset(0)) save_producers();
  if (Status synced = sync_folder(folder_); !synced) return synced;
  file_ = std::move(file);
  if (again) segments_.pop_back();
  segments_.push_back({end_, 0, clock_.wall_now().unix_ms});
  return {};
}

void EmbeddedLogPartition::save_producers() const {
  // Without this file, or with a bad one, opening scans all segments instead: so its errors are only told.
  const fs::path path = producers_path(folder_, end_);
  const std::string bytes = producers_.encode();
  const FileDescriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!file.valid() || !write_at(file.get(), bytes, 0, path) || fdatasync(file.get()) != 0) {
    LOG(WARNING) << "cannot save " << path << "; opening this log again will take longer";
  }
}

void EmbeddedLogPartition::remove_old_segments() {
  uint64_t total = 0;
  for (const Segment& segment : segments_) total += segment.bytes;
  const int64_t oldest_ms = clock_.wall_now().unix_ms - to_ms(options_.retention_age);
  std::vector<Offset> removed;
  while (segments_.size() > 1) {
    const Segment& first = segments_.front();
    const bool too_large = options_.retention_bytes > 0 && total > options_.retention_bytes;
    const bool too_old = options_.retention_age > Duration{0} && first.newest_ms < oldest_ms;
    if (!too_large && !too_old) break;
    total -= first.bytes;
    removed.push_back(first.base);
    segments_.pop_front();
  }
  if (removed.empty()) return;
  announce();  // first, so that nobody looks for a file that is gone
  for (const Offset base : removed) {
    unlink(segment_path(folder_, base).c_str());
    unlink(producers_path(folder_, base).c_str());
  }
}

void EmbeddedLogPartition::announce() {
  announcement_->publish(partition_, {segments_.back().base, segments_.back().bytes, end_, segments_.front().base});
}

}  // namespace millrace
