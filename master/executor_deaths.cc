#include "master/executor_deaths.h"

#include <algorithm>
#include <utility>

namespace millrace {

void ExecutorDeaths::lost(ProcessId process, std::string work, const Progress& progress) {
  if (lost_.size() >= kMostLost) lost_.clear();
  lost_[process] = {std::move(work), progress};
}

bool ExecutorDeaths::ended(ProcessId process, const std::string& worker, const std::string& how) {
  const auto found = lost_.find(process);
  if (found == lost_.end()) return false;
  const Lost& lost = found->second;
  if (!row_) row_ = Row{.progress = lost.progress, .last = {}};
  ++row_->deaths;
  row_->progress.newest = std::max(row_->progress.newest, lost.progress.newest);
  row_->last = "on worker " + worker + ": " + how + (lost.work.empty() ? "" : ", while it had to do: " + lost.work);
  lost_.erase(found);
  return true;
}

void ExecutorDeaths::tell(const Progress& progress) {
  if (!row_) return;
  const bool got_on = progress.applied > row_->progress.applied;
  const bool got_over = progress.idle && progress.newest >= row_->progress.newest;
  if (got_on || got_over) row_.reset();
}

std::string ExecutorDeaths::text() const {
  if (!row_) return "";
  const std::string times =
      row_->deaths == 1
          ? "an executor died "
          : std::to_string(row_->deaths) + " executors died, one after the other and no batch further, the last ";
  return times + row_->last + "; where the job's code is the reason, mend it and `millrace upgrade` the job" +
         (most_ == 0 || too_many() ? "" : "; after " + std::to_string(most_) + " in a row the job fails");
}

}  // namespace millrace
