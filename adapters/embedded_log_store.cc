#include "adapters/embedded_log_store.h"

#include <fcntl.h>
#include <sys/file.h>

#include <cerrno>

#include "common/base/check.h"
#include "common/model/record_batch.h"
#include "common/model/uri.h"

namespace millrace {

namespace fs = std::filesystem;

Result<std::unique_ptr<EmbeddedLogStore>> EmbeddedLogStore::open(const fs::path& root,
                                                                 const EmbeddedLogOptions& options, const Clock& clock,
                                                                 Random& random) {
  std::unique_ptr<EmbeddedLogStore> store(new EmbeddedLogStore(root, options, clock, random));
  if (Status locked = store->lock_root(); !locked) return std::unexpected(locked.error());
  if (Status opened = store->open_all(); !opened) return std::unexpected(opened.error());
  return store;
}

Status EmbeddedLogStore::lock_root() {
  std::error_code error;
  fs::create_directories(root_, error);
  if (error) return io_error("cannot make", root_, error.value());
  const fs::path path = root_ / "owner.lock";
  owner_lock_ = FileDescriptor(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  if (!owner_lock_.valid()) return io_error("cannot open", path, errno);
  if (flock(owner_lock_.get(), LOCK_EX | LOCK_NB) == 0) return {};
  if (errno != EWOULDBLOCK) return io_error("cannot lock", path, errno);
  return fail(ErrorCode::kUnavailable, "the embedded logs in " + root_.string() +
                                           " are owned by another process; end it or choose another folder");
}

Status EmbeddedLogStore::open_all() {
  std::error_code error;
  for (fs::directory_iterator entry(root_, error), end; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    std::error_code absent;
    if (!fs::exists(entry->path() / "log", absent) || !check_name("log name", name)) continue;
    auto partitions = open_partitions(name);
    if (!partitions) LOG(ERROR) << "embedded log '" << name << "' does not open: " << partitions.error();
    logs_.emplace(name, std::move(partitions));
  }
  if (error) return io_error("cannot list", root_, error.value());
  return {};
}

Result<EmbeddedLogStore::Partitions> EmbeddedLogStore::open_partitions(const std::string& log) const {
  const fs::path folder = root_ / log;
  const auto identity = read_identity(folder);
  if (!identity) return std::unexpected(identity.error());
  auto announcement = Announcement::create(folder, identity->partitions);
  if (!announcement) return std::unexpected(announcement.error());
  Partitions partitions;
  for (int32_t index = 0; index < identity->partitions; ++index) {
    const LogPartition partition(index);
    auto opened =
        EmbeddedLogPartition::open(partition_folder(folder, partition), partition, options_, clock_, *announcement);
    if (!opened) return std::unexpected(opened.error());
    partitions.push_back(std::move(*opened));
  }
  return partitions;
}

Result<int32_t> EmbeddedLogStore::open_log(const std::string& log, int32_t partitions) {
  if (Status valid = check_name("log name", log); !valid) return std::unexpected(valid.error());
  if (partitions < 1 || partitions > kMostEmbeddedLogPartitions) {
    return fail(ErrorCode::kInvalid, "an embedded log has 1 to " + std::to_string(kMostEmbeddedLogPartitions) +
                                         " partitions, not " + std::to_string(partitions));
  }
  const std::scoped_lock lock(mutex_);
  auto found = logs_.find(log);
  if (found == logs_.end() || !found->second) {
    std::error_code absent;
    if (!fs::exists(root_ / log / "log", absent)) {
      if (partitions_in_all() + static_cast<size_t>(partitions) > options_.most_partitions) {
        return fail(ErrorCode::kInvalid, "embedded log '" + log + "' would be one too many: all logs together have " +
                                             std::to_string(partitions_in_all()) + " partitions, and at most " +
                                             std::to_string(options_.most_partitions) +
                                             "; use fewer, or remove the folder of a log that nobody needs while the "
                                             "master is down");
      }
      const std::array<uint64_t, 2> id{random_.next_id(), random_.next_id()};
      if (Status made = write_identity(root_ / log, id, partitions); !made) return std::unexpected(made.error());
    }
    found = logs_.insert_or_assign(log, open_partitions(log)).first;
  }
  if (!found->second) return std::unexpected(found->second.error());
  return static_cast<int32_t>(found->second->size());
}

size_t EmbeddedLogStore::partitions_in_all() const {
  size_t sum = 0;
  for (const auto& [name, partitions] : logs_) sum += partitions ? partitions->size() : 0;
  return sum;
}

Result<EmbeddedLogPartition*> EmbeddedLogStore::find(const std::string& log, LogPartition partition) {
  const std::scoped_lock lock(mutex_);
  const auto found = logs_.find(log);
  if (found == logs_.end()) {
    return fail(ErrorCode::kNotFound, "embedded log '" + log + "' does not exist; open it first");
  }
  if (!found->second) return std::unexpected(found->second.error());
  const auto index = static_cast<size_t>(partition.value());
  if (partition.value() < 0 || index >= found->second->size()) {
    return fail(ErrorCode::kNotFound, "embedded log '" + log + "' has " + std::to_string(found->second->size()) +
                                          " partitions, so there is no partition " + std::to_string(partition.value()));
  }
  return (*found->second)[index].get();
}

Result<OffsetRange> EmbeddedLogStore::append(const std::string& log, LogPartition partition, NewRecords records,
                                             AppendIdentity identity) {
  const auto writer = find(log, partition);
  if (!writer) return std::unexpected(writer.error());
  const bool numbered =
      identity.producer_id > 0 && identity.sequence >= 1 && identity.sequence <= ProducerTable::kLargestSequence;
  if (identity.producer_id != 0 && !numbered) {
    return fail(ErrorCode::kInvalid, "producer " + std::to_string(identity.producer_id) + ", append " +
                                         std::to_string(identity.sequence) +
                                         ": producers have positive ids and number their appends from 1 to 2^46 - 1");
  }
  const size_t count = records.values.size();
  if (!records.keys.empty() && records.keys.size() != count) {
    return fail(ErrorCode::kInvalid, std::to_string(records.keys.size()) + " keys for " + std::to_string(count) +
                                         " records; give each record one, or none");
  }
  size_t bytes = 0;
  for (const std::string& value : records.values) bytes += value.size() + 32;
  for (const std::string& key : records.keys) bytes += key.size();
  if (count == 0 || bytes > kMostAppendBytes) {
    return fail(ErrorCode::kInvalid, "an append holds at least one record and at most " +
                                         std::to_string(kMostAppendBytes >> 20) + " MiB, not " + std::to_string(count) +
                                         " records of " + std::to_string(bytes) + " bytes; split it");
  }
  RecordBatchBuilder builder(bytes + 128);
  builder.set_producer(ProducerTable::stamp(identity));
  const int64_t now_ms = clock_.wall_now().unix_ms;
  for (size_t index = 0; index < count; ++index) {
    std::optional<std::string_view> key;
    if (!records.keys.empty()) key = records.keys[index];
    builder.add(Offset(static_cast<int64_t>(index)), now_ms, key, records.values[index]);
  }
  return (*writer)->append(builder.finish(), static_cast<int32_t>(count), identity);
}

}  // namespace millrace
