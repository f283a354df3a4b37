#include "master/job_store.h"

#include <cstdio>
#include <limits>
#include <utility>

#include "common/wire/codec.h"

namespace millrace {
namespace {

constexpr size_t kNoLimit = std::numeric_limits<size_t>::max();
constexpr char kEpochKey[] = "epoch";
constexpr char kKilled[] = "killed/";

std::string hex(int64_t number) {
  return to_hex(static_cast<uint64_t>(number));
}

std::string folder(const char* kind, JobId job) {
  return std::string(kind) + "/" + to_string(job) + "/";
}

template <typename Record>
Result<Record> decode_at(const std::string& key, const std::string& bytes) {
  Result<Record> record = decode_record<Record>(bytes);
  if (record.has_value()) return record;
  return fail(record.error().code, "the master's record '" + key + "' is damaged: " + record.error().message +
                                       "; restore the data directory");
}

template <typename Record>
Result<std::vector<Record>> scan_records(MetadataStore& store, const std::string& prefix, size_t limit,
                                         const std::string& from) {
  auto pairs = store.scan(prefix, limit, from);
  if (!pairs.has_value()) return std::unexpected(pairs.error());
  std::vector<Record> records;
  records.reserve(pairs->size());
  for (const auto& [key, bytes] : *pairs) {
    Result<Record> record = decode_at<Record>(key, bytes);
    if (!record.has_value()) return std::unexpected(record.error());
    records.push_back(std::move(*record));
  }
  return records;
}

}  // namespace

Result<Epoch> JobStore::read_epoch() {
  auto bytes = store_.get(kEpochKey);
  if (!bytes.has_value()) return std::unexpected(bytes.error());
  if (!bytes->has_value()) return Epoch(0);
  const uint64_t number = parse_hex(**bytes);
  if (number == 0) return fail(ErrorCode::kCorrupt, "the master's record 'epoch' is damaged");
  return Epoch(static_cast<int64_t>(number));
}

Result<std::vector<wire::JobRecord>> JobStore::read_jobs() {
  return scan_records<wire::JobRecord>(store_, "job/", kNoLimit, "");
}

Result<std::vector<wire::BatchRecord>> JobStore::read_batches(JobId job, BatchId after) {
  const std::string prefix = folder("batch", job);
  auto records = scan_records<wire::BatchRecord>(store_, prefix, kNoLimit, prefix + hex(after.value() + 1));
  if (!records.has_value()) return records;
  for (size_t i = 1; i < records->size(); ++i) {
    if ((*records)[i].batch == (*records)[i - 1].batch + 1) continue;
    return fail(ErrorCode::kCorrupt, "the batch log of job " + to_string(job) + " lacks batch " +
                                         std::to_string((*records)[i - 1].batch + 1) + "; restore the data directory");
  }
  return records;
}

Result<std::vector<wire::BatchTotals>> JobStore::read_totals(JobId job, BatchId after) {
  const std::string prefix = folder("totals", job);
  return scan_records<wire::BatchTotals>(store_, prefix, kNoLimit, prefix + hex(after.value() + 1));
}

Result<std::optional<wire::AssignmentRecord>> JobStore::read_assignment(JobId job) {
  const std::string key = "assignment/" + to_string(job);
  auto bytes = store_.get(key);
  if (!bytes.has_value()) return std::unexpected(bytes.error());
  if (!bytes->has_value()) return std::nullopt;
  auto record = decode_at<wire::AssignmentRecord>(key, **bytes);
  if (!record.has_value()) return std::unexpected(record.error());
  return std::optional(std::move(*record));
}

Result<std::vector<std::pair<JobId, std::string>>> JobStore::read_killed() {
  auto pairs = store_.scan(kKilled, kNoLimit);
  if (!pairs.has_value()) return std::unexpected(pairs.error());
  std::vector<std::pair<JobId, std::string>> killed;
  for (auto& [key, name] : *pairs) killed.emplace_back(parse_hex(key.substr(sizeof(kKilled) - 1)), std::move(name));
  return killed;
}

Result<std::vector<wire::DeadLetter>> JobStore::read_letters(JobId job, LogPartition partition, Offset offset,
                                                             size_t limit) {
  const std::string prefix = folder("letter", job);
  return scan_records<wire::DeadLetter>(store_, prefix, limit,
                                        prefix + hex(partition.value()) + "/" + hex(offset.value()));
}

void JobStore::put_epoch(WriteSet& set, Epoch epoch) {
  set.put(kEpochKey, hex(epoch.value()));
}

void JobStore::put_job(WriteSet& set, const wire::JobRecord& job) {
  set.put("job/" + job.spec.name, encode_record(job));
}

void JobStore::remove_job(WriteSet& set, const std::string& name) {
  set.remove("job/" + name);
}

void JobStore::put_killed(WriteSet& set, JobId job, const std::string& name) {
  set.put(kKilled + to_string(job), name);
}

void JobStore::remove_killed(WriteSet& set, JobId job) {
  set.remove(kKilled + to_string(job));
}

void JobStore::put_batch(WriteSet& set, JobId job, const wire::BatchRecord& record) {
  set.put(folder("batch", job) + hex(record.batch), encode_record(record));
}

void JobStore::put_totals(WriteSet& set, JobId job, const wire::BatchTotals& totals) {
  set.put(folder("totals", job) + hex(totals.batch), encode_record(totals));
}

void JobStore::put_assignment(WriteSet& set, JobId job, const wire::AssignmentRecord& record) {
  set.put("assignment/" + to_string(job), encode_record(record));
}

void JobStore::put_letter(WriteSet& set, JobId job, const wire::DeadLetter& letter) {
  set.put(folder("letter", job) + hex(letter.partition) + "/" + hex(letter.offset), encode_record(letter));
}

void JobStore::remove_batches(WriteSet& set, JobId job, BatchId after, BatchId up_to) {
  for (BatchId batch = after.next(); batch <= up_to; batch = batch.next()) {
    set.remove(folder("batch", job) + hex(batch.value()));
    set.remove(folder("totals", job) + hex(batch.previous().value()));
  }
}

Status JobStore::remove_beyond(WriteSet& set, JobId job, BatchId batch, const LogOffsets& offsets) {
  for (const char* kind : {"batch", "totals"}) {
    const std::string prefix = folder(kind, job);
    const auto pairs = store_.scan(prefix, kNoLimit, prefix + hex(batch.value() + 1));
    if (!pairs.has_value()) return std::unexpected(pairs.error());
    for (const auto& [key, bytes] : *pairs) set.remove(key);
  }
  const std::string prefix = folder("letter", job);
  const auto letters = store_.scan(prefix, kNoLimit);
  if (!letters.has_value()) return std::unexpected(letters.error());
  for (const auto& [key, bytes] : *letters) {
    const size_t slash = key.rfind('/');
    const LogPartition partition(static_cast<int32_t>(parse_hex(key.substr(prefix.size(), slash - prefix.size()))));
    const Offset offset(static_cast<int64_t>(parse_hex(key.substr(slash + 1))));
    const auto next = offsets.find(partition);
    if (next == offsets.end() || offset >= next->second) set.remove(key);
  }
  return {};
}

Status JobStore::remove_all(WriteSet& set, JobId job) {
  for (const char* kind : {"batch", "totals", "letter"}) {
    auto pairs = store_.scan(folder(kind, job), kNoLimit);
    if (!pairs.has_value()) return std::unexpected(pairs.error());
    for (const auto& [key, bytes] : *pairs) set.remove(key);
  }
  set.remove("assignment/" + to_string(job));
  return {};
}

}  // namespace millrace
