// JobController: what metrics tell.

#include "master/job_figures.h"

#include <algorithm>

#include "master/job_controller.h"

namespace millrace {

void JobController::note_figures(ProcessId process, const wire::ExecutorFigures& figures) {
  if (Member* member = find_member(process); member != nullptr) member->figures = figures;
}

JobFigures JobController::figures() const {
  JobFigures figures;
  const api::JobDescription description = describe();
  figures.summary = description.summary;
  figures.recovering = description.recovering_partitions;
  figures.events = events_;
  figures.newest_record_ms = profiles_.newest_record_ms();
  for (const api::ExecutorSummary& executor : description.executors) figures.executors.push_back({executor, {}});
  size_t index = 0;  // describe() goes through the members in the same order
  for (const auto& [process, member] : members_) figures.executors.at(index++).told = member.figures;

  if (const KeptCheckpoint* newest = coordinator_.newest(); newest != nullptr) {
    figures.checkpoint_batch = newest->reference.batch;
    figures.checkpoint_ms = newest->reference.time_ms;
    figures.checkpoint_bytes = newest->reference.bytes;
    figures.checkpoint_files = newest->reference.files;
  }

  const BatchProfiles::Latencies& latencies = profiles_.latencies();
  figures.latencies["durable"] = latencies.durable.collect();
  figures.latencies["mapped"] = latencies.mapped.collect();
  figures.latencies["applied"] = latencies.applied.collect();
  figures.latencies["published"] = latencies.published.collect();
  figures.checkpoint_seconds = latencies.checkpoint.collect();
  figures.held_us = profiles_.held_us();

  figures.replays = std::ssize(replays_);
  if (round_.has_value()) figures.unpublished = std::ssize(round_->waiting);
  if (ledger_ == nullptr || !needs_executors()) return figures;
  const int64_t newest = ledger_->newest().value();
  figures.in_flight = std::max<int64_t>(0, newest - slowest_applied().value());
  figures.not_durable = std::max<int64_t>(0, newest - ledger_->newest_durable().value());
  figures.uncheckpointed = std::max<int64_t>(0, newest - coordinator_.newest_batch().value());
  for (const auto& [partition, applied] : offsets_after(applied_)) {
    const auto end = log_ends_.find(partition);
    if (end == log_ends_.end()) continue;
    figures.lags.push_back({topics_.name_of(partition), topic_partition(partition),
                            std::max<int64_t>(0, end->second.value() - applied.value())});
  }
  return figures;
}

}  // namespace millrace
