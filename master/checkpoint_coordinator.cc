#include "master/checkpoint_coordinator.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <utility>

#include "common/base/check.h"
#include "common/model/hash.h"
#include "common/wire/codec.h"

namespace millrace {
namespace {

std::vector<int32_t> to_wire(const std::vector<StatePartition>& partitions) {
  std::vector<int32_t> numbers;
  numbers.reserve(partitions.size());
  for (StatePartition partition : partitions) numbers.push_back(partition.value());
  return numbers;
}

bool concerns(const wire::CheckpointFile& file, const std::vector<int32_t>& partitions) {
  return std::any_of(file.partitions.begin(), file.partitions.end(), [&](int32_t partition) {
    return std::binary_search(partitions.begin(), partitions.end(), partition);
  });
}

}  // namespace

std::string checkpoint_folder(const std::string& job_name, JobId job, Incarnation incarnation) {
  return job_folder(job_name, job) + "/" + std::to_string(incarnation.value());
}

std::string job_folder(const std::string& job_name, JobId job) {
  return job_name + "-" + to_string(job);
}

bool tiles_all_partitions(const wire::Manifest& manifest) {
  std::map<int32_t, int64_t> reached;
  for (const wire::CheckpointFile& file : manifest.files) {
    for (int32_t partition : file.partitions) {
      int64_t& batch = reached[partition];
      if (file.from_batch != batch) return false;
      batch = file.to_batch;
    }
  }
  if (reached.size() != static_cast<size_t>(manifest.state_partitions)) return false;
  return std::all_of(reached.begin(), reached.end(), [&](const auto& entry) { return entry.second == manifest.batch; });
}

Result<wire::Manifest> read_manifest(const wire::CheckpointRef& reference, const std::string& bytes, JobId job) {
  const auto refuse = [](const std::string& why) { return fail(ErrorCode::kCorrupt, why); };
  if (static_cast<int64_t>(hash_of(bytes)) != reference.hash) return refuse("its hash is not the batch log's");
  auto manifest = decode_record<wire::Manifest>(bytes);
  if (!manifest.has_value()) return refuse(manifest.error().message);
  if (const int32_t known = wire::Manifest().format; manifest->format != known) {
    return refuse("it is of format " + std::to_string(manifest->format) + ", this program knows " +
                  std::to_string(known) + "; use the program that wrote it");
  }
  const bool ours = static_cast<uint64_t>(manifest->job) == job.value() && manifest->batch == reference.batch;
  if (!ours) return refuse("it is of another job or batch");
  if (!tiles_all_partitions(*manifest)) return refuse("its files do not cover all state partitions");
  return manifest;
}

std::vector<std::string> abandoned_files(const std::vector<std::string>& names, const std::deque<KeptCheckpoint>& kept,
                                         Incarnation incarnation, Epoch epoch, std::set<std::string> spared) {
  std::set<std::string> named = std::move(spared);
  for (const KeptCheckpoint& checkpoint : kept) {
    named.insert(checkpoint.reference.name);
    for (const wire::CheckpointFile& file : checkpoint.manifest.files) named.insert(file.name);
  }
  const int64_t newest = kept.empty() ? 0 : kept.back().manifest.batch;
  std::vector<std::string> abandoned;
  for (const std::string& name : names) {
    // .../INCARNATION/EPOCH-BATCH...
    int32_t its_incarnation = 0;
    int64_t its_epoch = 0;
    int64_t its_batch = 0;
    const size_t slash = name.rfind('/');
    if (slash == std::string::npos || slash == 0) continue;
    const char* folder_end = name.data() + slash;
    const char* end = name.data() + name.size();
    const auto incarnation_read =
        std::from_chars(name.data() + name.rfind('/', slash - 1) + 1, folder_end, its_incarnation);
    if (incarnation_read.ec != std::errc() || incarnation_read.ptr != folder_end) continue;
    const auto epoch_read = std::from_chars(folder_end + 1, end, its_epoch);
    if (epoch_read.ec != std::errc() || epoch_read.ptr == end || *epoch_read.ptr != '-' || its_epoch < 1) continue;
    if (std::from_chars(epoch_read.ptr + 1, end, its_batch).ec != std::errc()) continue;
    const auto writer = std::pair(Incarnation(its_incarnation), Epoch(its_epoch));
    const auto present = std::pair(incarnation, epoch);
    const bool is_former = writer.first < incarnation || (writer.first == incarnation && writer.second < epoch);
    const bool over = is_former || (writer == present && its_batch <= newest);
    if (over && !named.contains(name)) abandoned.push_back(name);
  }
  return abandoned;
}

CheckpointCoordinator::CheckpointCoordinator(Options options, CheckpointStore& store, Hooks hooks)
    : options_(options), store_(store), hooks_(std::move(hooks)) {}

void CheckpointCoordinator::begin(wire::Manifest draft, std::string folder, std::vector<Participant> participants) {
  CHECK(!open());
  ++attempt_;
  phase_ = Phase::kFreezing;
  draft_ = std::move(draft);
  folder_ = std::move(folder);
  participants_ = std::move(participants);
  increments_.clear();
  waiting_.clear();
  for (const Participant& participant : participants_) waiting_.insert(participant.process);
}

void CheckpointCoordinator::on_report(ProcessId from, BatchId batch, const wire::Checkpointed& report) {
  const bool expected = (phase_ == Phase::kFreezing || phase_ == Phase::kMerging) && batch.value() == draft_.batch &&
                        waiting_.contains(from);
  if (!expected) return;
  if (!report.problem.empty()) {
    abandon(report.problem);
    return;
  }
  for (wire::CheckpointFile file : report.files) {
    std::sort(file.partitions.begin(), file.partitions.end());
    if (phase_ == Phase::kFreezing) {
      if (file.from_batch != chain_end().value()) {
        abandon("an executor has the changes after batch " + std::to_string(file.from_batch) +
                ", and the newest checkpoint is of batch " + std::to_string(newest_batch().value()));
        if (file.from_batch > newest_batch().value()) hooks_.is_beyond(from);
        return;
      }
      file.to_batch = draft_.batch;
      increments_.push_back(std::move(file));
    } else {
      file.from_batch = 0;
      file.to_batch = draft_.batch;
      draft_.files.push_back(std::move(file));
    }
  }
  waiting_.erase(from);
  if (!waiting_.empty()) return;
  if (phase_ == Phase::kFreezing) {
    on_increments_complete();
  } else {
    write_manifest();
  }
}

// The first checkpoint of a version has everything, so that no chain holds entries of two.
std::vector<wire::CheckpointFile> CheckpointCoordinator::chain() const {
  if (kept_.empty() || newest_is_former(draft_.job_version)) return {};
  return kept_.back().manifest.files;
}

BatchId CheckpointCoordinator::chain_end() const {
  return newest_is_former(draft_.job_version) ? BatchId(0) : newest_batch();
}

int32_t CheckpointCoordinator::chain_length() const {
  std::map<int32_t, int32_t> length;
  int32_t longest = 0;
  for (const wire::CheckpointFile& file : chain()) {
    for (int32_t partition : file.partitions) longest = std::max(longest, ++length[partition]);
  }
  return longest;
}

void CheckpointCoordinator::on_increments_complete() {
  if (chain_length() >= options_.base_every) {
    begin_merge();
    return;
  }
  draft_.files = chain();
  draft_.files.insert(draft_.files.end(), increments_.begin(), increments_.end());
  write_manifest();
}

void CheckpointCoordinator::begin_merge() {
  phase_ = Phase::kMerging;
  draft_.files.clear();
  std::vector<wire::CheckpointFile> files = chain();
  files.insert(files.end(), increments_.begin(), increments_.end());
  for (const Participant& participant : participants_) {
    wire::MergeState request;
    request.partitions = to_wire(participant.partitions);
    std::sort(request.partitions.begin(), request.partitions.end());
    for (const wire::CheckpointFile& file : files) {
      if (!file.name.empty() && concerns(file, request.partitions)) request.files.push_back(file);
    }
    waiting_.insert(participant.process);
    hooks_.merge(participant.process, open_batch(), std::move(request));
  }
}

void CheckpointCoordinator::write_manifest() {
  if (!tiles_all_partitions(draft_)) {
    abandon("the reported files do not cover all state partitions");
    return;
  }
  phase_ = Phase::kTotals;
  const wire::BatchTotals* totals = hooks_.totals(open_batch());
  if (totals == nullptr) return;
  draft_.totals = *totals;
  phase_ = Phase::kManifest;
  KeptCheckpoint added;
  added.manifest = draft_;
  added.reference.batch = draft_.batch;
  added.reference.name =
      folder_ + "/" + std::to_string(draft_.epoch) + "-" + std::to_string(draft_.batch) + ".manifest";
  added.reference.incarnation = draft_.incarnation;
  added.reference.time_ms = draft_.time_ms;
  added.reference.job_version = draft_.job_version;
  for (const wire::CheckpointFile& file : draft_.files) {
    added.reference.bytes += file.size;
    added.reference.files += file.name.empty() ? 0 : 1;
  }
  std::string bytes = encode_record(draft_);
  added.reference.hash = static_cast<int64_t>(hash_of(bytes));
  const std::string name = added.reference.name;
  store_.create(name, std::move(bytes),
                lifetime_.guard([this, attempt = attempt_, added = std::move(added)](Result<bool> created) mutable {
                  if (attempt != attempt_ || phase_ != Phase::kManifest) return;
                  if (!created.has_value()) return abandon(created.error().message);
                  if (!*created) return abandon("a manifest of this name exists already: " + added.reference.name);
                  on_manifest_written(std::move(added));
                }));
}

void CheckpointCoordinator::on_totals() {
  if (phase_ == Phase::kTotals) write_manifest();
}

void CheckpointCoordinator::on_manifest_written(KeptCheckpoint added) {
  const KeptCheckpoint copy = added;
  hooks_.commit(copy, lifetime_.guard([this, attempt = attempt_, added = std::move(added)](Status status) mutable {
    if (attempt != attempt_ || phase_ != Phase::kManifest) return;
    if (!status.has_value()) return abandon(status.error().message);
    kept_.push_back(std::move(added));
    remove_unnamed(increments_);  // that new bases have taken in
    while (kept_.size() > options_.keep) {
      const KeptCheckpoint dropped = std::move(kept_.front());
      kept_.pop_front();
      remove_unnamed(dropped.manifest.files, dropped.reference.name);
    }
    phase_ = Phase::kIdle;
    if (completed_++ % kSweepEvery == 0) sweep();
    hooks_.completed(newest_batch());
  }));
}

std::vector<wire::CheckpointRef> CheckpointCoordinator::references_with(const KeptCheckpoint& added) const {
  std::vector<wire::CheckpointRef> references;
  for (const KeptCheckpoint& kept : kept_) references.push_back(kept.reference);
  references.push_back(added.reference);
  if (references.size() > options_.keep) {
    references.erase(references.begin(), references.end() - static_cast<std::ptrdiff_t>(options_.keep));
  }
  return references;
}

void CheckpointCoordinator::remove_unnamed(const std::vector<wire::CheckpointFile>& files,
                                           const std::string& manifest) {
  std::set<std::string> named = spared_and_pinned();
  for (const KeptCheckpoint& kept : kept_) {
    for (const wire::CheckpointFile& file : kept.manifest.files) named.insert(file.name);
  }
  std::vector<std::string> unnamed;
  for (const wire::CheckpointFile& file : files) {
    if (!file.name.empty() && !named.contains(file.name)) unnamed.push_back(file.name);
  }
  if (!manifest.empty() && !named.contains(manifest)) unnamed.push_back(manifest);
  // Removing is housekeeping: what stays behind is found by the next sweep.
  if (!unnamed.empty()) store_.remove(std::move(unnamed), [](Result<bool>) {});
}

std::set<std::string> CheckpointCoordinator::spared_and_pinned() const {
  std::set<std::string> names = spared_;
  for (const auto& [batch, pinned] : pinned_) {
    for (const wire::CheckpointFile& file : pinned.manifest.files) names.insert(file.name);
  }
  return names;
}

const KeptCheckpoint* CheckpointCoordinator::find(BatchId batch) const {
  for (const KeptCheckpoint& kept : kept_) {
    if (kept.manifest.batch == batch.value()) return &kept;
  }
  const auto pinned = pinned_.find(batch);
  return pinned == pinned_.end() ? nullptr : &pinned->second;
}

void CheckpointCoordinator::pin(BatchId batch) {
  const KeptCheckpoint* const found = find(batch);
  CHECK(found != nullptr);
  pinned_.try_emplace(batch, *found);
}

void CheckpointCoordinator::unpin(BatchId batch) {
  const auto pinned = pinned_.extract(batch);
  if (pinned.empty() || find(batch) != nullptr) return;
  // A master that is over leaves all files to the next one's sweep.
  if (hooks_.may_remove()) remove_unnamed(pinned.mapped().manifest.files);
}

void CheckpointCoordinator::sweep() {
  auto listed = [this, incarnation = Incarnation(draft_.incarnation),
                 epoch = Epoch(draft_.epoch)](const Result<std::vector<std::string>>& names) {
    if (!names.has_value()) return;
    std::vector<std::string> abandoned = abandoned_files(*names, kept_, incarnation, epoch, spared_and_pinned());
    if (!abandoned.empty() && hooks_.may_remove()) store_.remove(std::move(abandoned), [](Result<bool>) {});
  };
  store_.list(folder_.substr(0, folder_.rfind('/')), lifetime_.guard(std::move(listed)));
}

void CheckpointCoordinator::on_reassignment(const std::string& cause) {
  if (phase_ == Phase::kFreezing || phase_ == Phase::kMerging) abandon(cause, false);
}

void CheckpointCoordinator::give_up(const std::string& cause) {
  CHECK(!is_final());
  if (open()) abandon(cause, false);
}

void CheckpointCoordinator::abandon(const std::string& cause, bool failed) {
  ++attempt_;
  phase_ = Phase::kIdle;
  waiting_.clear();
  hooks_.abandoned(BatchId(draft_.batch), cause, failed);
}

bool CheckpointCoordinator::drop_newest() {
  CHECK(!kept_.empty());
  kept_.pop_back();
  return !kept_.empty();
}

}  // namespace millrace
