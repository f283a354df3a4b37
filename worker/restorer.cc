#include "worker/restorer.h"

#include <algorithm>

#include "worker/retry_pause.h"

namespace millrace {
namespace {

bool holds(const wire::CheckpointFile& file, StatePartition partition) {
  return std::ranges::find(file.partitions, partition.value()) != file.partitions.end();
}

}  // namespace

void Restorer::start(std::vector<Gained> gained, std::vector<wire::CheckpointFile> files, BatchId checkpoint,
                     BatchId published) {
  if (gained.empty()) return;
  std::erase_if(files, [](const wire::CheckpointFile& file) { return file.name.empty() || file.entries == 0; });
  const uint64_t ticket = ++last_ticket_;
  works_[ticket] = {std::move(gained), std::move(files), checkpoint, published};
  read_next(ticket);
}

void Restorer::read_next(uint64_t ticket) {
  Work& work = works_.at(ticket);
  std::vector<StatePartition> wanted;
  for (; work.next < work.files.size(); ++work.next) {
    for (const Gained& gained : work.gained) {
      if (holds(work.files[work.next], gained.state.partition)) wanted.push_back(gained.state.partition);
    }
    if (!wanted.empty()) break;
  }
  if (wanted.empty()) {
    finish(ticket);
    return;
  }
  std::ranges::sort(wanted);
  const wire::CheckpointFile& file = work.files[work.next];
  StateFile state_file{file.name, static_cast<uint64_t>(file.size), static_cast<uint64_t>(file.hash),
                       static_cast<uint64_t>(file.entries)};
  store_.read_state(std::move(state_file), std::move(wanted),
                    lifetime_.guard([this, ticket](Result<StateRun> run) { on_read(ticket, std::move(run)); }));
}

void Restorer::on_read(uint64_t ticket, Result<StateRun> run) {
  Work& work = works_.at(ticket);
  const wire::CheckpointFile& file = work.files[work.next];
  if (!run) {
    const ErrorCode code = run.error().code;
    if (code == ErrorCode::kCorrupt || code == ErrorCode::kNotFound) {
      const std::string name = file.name;
      works_.erase(ticket);
      hooks_.failed(name, run.error());
      return;
    }
    hooks_.trouble("checkpoint file " + file.name + " cannot be read now: " + run.error().message);
    work.pause = longer_pause(work.pause);
    loop_.schedule(work.pause, lifetime_.guard([this, ticket] { read_next(ticket); }));
    return;
  }
  if (work.pause != Duration{}) hooks_.trouble("");
  work.pause = Duration{};
  const auto shared = std::make_shared<const StateRun>(std::move(*run));
  std::map<size_t, RestoreShare> shares;
  for (const Gained& gained : work.gained) {
    if (!holds(file, gained.state.partition)) continue;
    RestoreShare& share = shares[gained.lane];
    share.ticket = ticket;
    share.run = shared;
    share.partitions.push_back(gained.state);
    share.unpublished = BatchId(file.to_batch) > work.published;
  }
  work.waiting = shares.size();
  for (auto& [lane, share] : shares) hooks_.to_lane(lane, std::move(share));
}

void Restorer::on_restored(uint64_t ticket) {
  const auto work = works_.find(ticket);
  if (work == works_.end() || --work->second.waiting > 0) return;
  ++work->second.next;
  read_next(ticket);
}

void Restorer::finish(uint64_t ticket) {
  const Work work = std::move(works_.at(ticket));
  works_.erase(ticket);
  std::map<size_t, std::vector<OwnedState>> by_lane;
  for (const Gained& gained : work.gained) by_lane[gained.lane].push_back(gained.state);
  for (auto& [lane, states] : by_lane) hooks_.finished(lane, std::move(states), work.checkpoint);
}

}  // namespace millrace
