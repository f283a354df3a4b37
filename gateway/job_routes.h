// JobRoutes: what jobs have counted, how they are, and what may be done to them.
//
//   GET    /api/v1/jobs, /api/v1/jobs/NAME, /api/v1/workers
//   GET    /api/v1/jobs/NAME/counts/WORD     the value of one key; null: there is none
//   GET    /api/v1/jobs/NAME/top?n=10        the highest
//   GET    /api/v1/jobs/NAME/search?prefix=P&limit=100&after=NEXT_PAGE    keys that begin with P, by their bytes
//   GET    /api/v1/jobs/NAME/totals          how many keys there are, and what their values sum to
//   GET    /api/v1/jobs/NAME/changes?after=POSITION&wait_ms=10000    see Query.changes in thrift/millrace.thrift
//   GET    /api/v1/jobs/NAME/lag, /checkpoints, /batches?n=100, /dead-letters?limit=100
//   POST   /api/v1/jobs                      submits one
//   POST   /api/v1/jobs/NAME/stop, /resume?from=BATCH
//   DELETE /api/v1/jobs/NAME?purge=true
//
// Answers have the form that `millrace --json` prints; counts are as of the batch that they name. ?table= names one of
// the tables of a job that publishes several, ?at_least= a batch before which no answer may be.
#pragma once

#include <cstddef>

#include "common/seams/api_service.h"
#include "gateway/gateway.h"
#include "gateway/seats.h"

namespace millrace {

class JobRoutes {
 public:
  // `master` outlives this. What it answers is passed on on its thread. `most_waiting`: requests of /changes that wait,
  // each of which takes a thread of `master`; more are answered 503.
  explicit JobRoutes(ApiService& master, size_t most_waiting = 16) : master_(master), waiting_(most_waiting) {}

  // `gateway` calls this as long as it is called itself.
  void add_to(Gateway& gateway);

 private:
  void add_questions(Gateway& gateway);
  void add_counts(Gateway& gateway);
  void add_commands(Gateway& gateway);

  ApiService& master_;
  Seats waiting_;
};

}  // namespace millrace
