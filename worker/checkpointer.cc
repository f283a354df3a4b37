#include "worker/checkpointer.h"

#include <algorithm>

#include "common/base/check.h"

namespace millrace {
namespace {

constexpr size_t kEntriesPerTask = 50'000;

}  // namespace

Checkpointer::Checkpointer(TaskLoop& loop, CheckpointStore& store, std::string folder, ProcessId self, Report report)
    : loop_(loop), store_(store), folder_(std::move(folder)), self_(self), report_(std::move(report)) {}

std::string Checkpointer::file_name(Epoch epoch, BatchId batch, const std::string& suffix) const {
  return folder_ + "/" + std::to_string(epoch.value()) + "-" + std::to_string(batch.value()) + "-" + to_string(self_) +
         suffix + ".sst";
}

void Checkpointer::add(Epoch epoch, FrozenShare share, const std::set<OwnedState>& owned) {
  if (open_ && open_->batch > share.batch) return;
  if (!open_ || open_->batch < share.batch) {
    open_ = std::make_shared<Open>();
    open_->epoch = epoch;
    open_->batch = share.batch;
  }
  open_->frozen.insert(share.partitions.begin(), share.partitions.end());
  open_->shares.push_back(std::move(share));
  if (open_->frozen != owned) return;
  plan_parts();
  gather_some();
}

void Checkpointer::abandon(BatchId batch) {
  if (open_ && open_->batch <= batch) open_.reset();
}

// The shares are sorted and hold different partitions: in the order of partitions they are one sorted run.
void Checkpointer::plan_parts() {
  size_t entries = 0;
  size_t bytes = 0;
  for (size_t i = 0; i < open_->shares.size(); ++i) {
    const StateRun& run = open_->shares[i].run;
    entries += run.size();
    bytes += run.bytes();
    for (size_t begin = 0; begin < run.size();) {
      const StatePartition partition = run[begin].partition;
      size_t end = begin;
      while (end < run.size() && run[end].partition == partition) ++end;
      open_->parts.push_back({partition, i, begin, end});
      begin = end;
    }
  }
  std::ranges::sort(open_->parts, {}, &Open::Part::partition);
  open_->run.reserve(entries, bytes);
}

void Checkpointer::gather_some() {
  size_t budget = kEntriesPerTask;
  while (open_->next_part < open_->parts.size() && budget > 0) {
    Open::Part& part = open_->parts[open_->next_part];
    const StateRun& from = open_->shares[part.share].run;
    for (; part.begin < part.end && budget > 0; ++part.begin, --budget) {
      const StateRun::Entry entry = from[part.begin];
      open_->run.add(entry.partition, entry.key, entry.value, entry.removed);
    }
    if (part.begin == part.end) ++open_->next_part;
  }
  if (open_->next_part == open_->parts.size()) {
    write();
    return;
  }
  loop_.post(lifetime_.guard([this, open = open_] {
    if (open == open_) gather_some();
  }));
}

void Checkpointer::write() {
  wire::CheckpointFile file;
  for (const OwnedState& state : open_->frozen) file.partitions.push_back(state.partition.value());
  file.from_batch = base_ == former_ ? 0 : base_.value();
  file.to_batch = open_->batch.value();
  open_->shares.clear();
  const BatchId batch = open_->batch;
  if (open_->run.size() == 0) {
    open_.reset();
    report_file(batch, std::move(file), StateFile{});
    return;
  }
  store_.write_state(file_name(open_->epoch, batch, ""), std::move(open_->run),
                     lifetime_.guard([this, open = open_, batch, file](const Result<StateFile>& written) {
                       if (open != open_) return;
                       open_.reset();
                       report_file(batch, file, written);
                     }));
}

void Checkpointer::report_file(BatchId batch, wire::CheckpointFile file, const Result<StateFile>& written) {
  wire::Checkpointed report;
  if (written) {
    file.name = written->name;
    file.size = static_cast<int64_t>(written->size);
    file.hash = static_cast<int64_t>(written->hash);
    file.entries = static_cast<int64_t>(written->entries);
    report.files.push_back(std::move(file));
  } else {
    report.problem = written.error().message;
  }
  report_(batch, report);
}

void Checkpointer::merge(Epoch epoch, BatchId batch, const wire::MergeState& request) {
  std::vector<StateFile> files;
  for (const wire::CheckpointFile& file : request.files) {
    if (file.name.empty()) continue;
    files.push_back({file.name, static_cast<uint64_t>(file.size), static_cast<uint64_t>(file.hash),
                     static_cast<uint64_t>(file.entries)});
  }
  std::vector<StatePartition> partitions;
  for (int32_t partition : request.partitions) partitions.push_back(StatePartition(partition));
  std::ranges::sort(partitions);
  wire::CheckpointFile base;
  base.partitions = request.partitions;
  base.from_batch = 0;
  base.to_batch = batch.value();
  if (files.empty()) {
    report_file(batch, std::move(base), StateFile{});
    return;
  }
  store_.merge_state(
      std::move(files), std::move(partitions), file_name(epoch, batch, "-base"),
      lifetime_.guard([this, batch, base](const Result<StateFile>& written) { report_file(batch, base, written); }));
}

}  // namespace millrace
