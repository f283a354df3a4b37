// ExecutorDeaths: executors of one job that ended by themselves, by a signal or an exit, most likely because of the
// job's own code. Counts those that follow one another while the job does not get on, so that people are told what
// they died at, and a record that kills whoever comes to it is not tried for ever. A new master counts anew.
//
// Plain data of the master's loop.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "common/base/ids.h"

namespace millrace {

class ExecutorDeaths {
 public:
  // How far the job is.
  struct Progress {
    BatchId applied;  // by all partitions, never lowered
    BatchId newest;   // planned
    bool idle;        // owners are there, and have applied what is planned
  };

  // `most`: in a row; then the job fails. 0: never.
  explicit ExecutorDeaths(int most) : most_(most) {}

  // An executor is gone by itself, nobody has said how yet. `work`: what it had to do, for people.
  void lost(ProcessId process, std::string work, const Progress& progress);
  // Its agent tells `how` it ended. False: it is none of those.
  bool ended(ProcessId process, const std::string& worker, const std::string& how);
  // Ends a row when the job has got over what they died at.
  void tell(const Progress& progress);

  [[nodiscard]] bool any() const { return row_.has_value(); }
  // There were so many in a row that the job is to fail.
  [[nodiscard]] bool too_many() const { return most_ > 0 && row_ && row_->deaths >= most_; }
  // Of the row, for people: cause, place and remedy; empty: there is none.
  [[nodiscard]] std::string text() const;

 private:
  static constexpr size_t kMostLost = 256;  // of whom no agent has said anything

  struct Lost {
    std::string work;
    Progress progress;
  };
  struct Row {
    int deaths = 0;
    Progress progress;  // when the first of them was lost
    std::string last;
  };

  const int most_;
  std::map<ProcessId, Lost> lost_;
  std::optional<Row> row_;
};

}  // namespace millrace
