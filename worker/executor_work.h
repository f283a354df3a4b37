// The parts of an Executor that exist once its job is known. Included by executor*.cc only.
#pragma once

#include "worker/executor.h"
#include "worker/lane_watch.h"
#include "worker/view_reader.h"

namespace millrace {

struct Executor::Work {
  wire::JobSpec spec;
  std::shared_ptr<const Job> job;
  SinkLayout layout;
  std::vector<RankGather> rank_gathers;  // of this executor's lanes, by table
  std::vector<RankBook> ranks;           // of the job, by table, if this is the ranks' owner
  std::unique_ptr<LaneGroup> lanes;
  LaneWatch watch;
  std::unique_ptr<Publisher> publisher;
  std::unique_ptr<Appender> appender;
  std::unique_ptr<Checkpointer> checkpointer;
  std::unique_ptr<Restorer> restorer;
  std::unique_ptr<QueryBoard> queries;
  std::unique_ptr<ViewReader> views;
  std::unique_ptr<RunningReceiver> receiver;  // if this is the rank's owner and the job has one
  std::string receiver_api;
};

}  // namespace millrace
