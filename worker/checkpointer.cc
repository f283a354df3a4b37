#include "worker/checkpointer.h"

#include <algorithm>

#include "common/base/time.h"

namespace millrace {
namespace {

wire::LaneFreeze lane_freeze(const FrozenShare& share) {
  wire::LaneFreeze freeze;
  freeze.lane = static_cast<int32_t>(share.lane);
  freeze.busy_us = to_us(share.busy);
  freeze.longest_us = to_us(share.longest);
  return freeze;
}

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
  open_->lanes.push_back(lane_freeze(share));
  open_->runs.push_back(std::move(share.run));
  if (open_->frozen == owned) write();
}

void Checkpointer::abandon(BatchId batch) {
  if (open_ && open_->batch <= batch) open_.reset();
}

void Checkpointer::write() {
  wire::CheckpointFile file;
  for (const OwnedState& state : open_->frozen) file.partitions.push_back(state.partition.value());
  file.from_batch = base_ == former_ ? 0 : base_.value();
  file.to_batch = open_->batch.value();
  const BatchId batch = open_->batch;
  size_t entries = 0;
  for (const StateRun& run : open_->runs) entries += run.size();
  if (entries == 0) {
    report_file(batch, std::move(file), StateFile{}, std::move(std::exchange(open_, {})->lanes));
    return;
  }
  store_.write_state(file_name(open_->epoch, batch, ""), std::move(open_->runs),
                     lifetime_.guard([this, open = open_, batch, file, entries](Result<StateFile> written) {
                       if (open != open_) return;
                       if (written && written->entries != entries) {
                         written =
                             fail(ErrorCode::kInternal, written->name + " has " + std::to_string(written->entries) +
                                                            " entries of " + std::to_string(entries));
                       }
                       report_file(batch, file, written, std::move(std::exchange(open_, {})->lanes));
                     }));
}

void Checkpointer::report_file(BatchId batch, wire::CheckpointFile file, const Result<StateFile>& written,
                               std::vector<wire::LaneFreeze> lanes) {
  wire::Checkpointed report;
  report.lanes = std::move(lanes);
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
