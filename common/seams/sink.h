// Sink: where results go. An upsert sink holds absolute values under keys, so that writing twice changes nothing,
// and is fenced, so that an older owner of a state partition cannot overwrite a younger one's values.
//
// Fence (the invariants every sink keeps, atomically with the values it guards):
//   per (job id, incarnation, state partition): generation, open, done.
//   A write of generation g at batch b applies only if g >= the stored generation and, for equal generations,
//   b >= open. It sets generation = g and open = b; the last chunk of b sets done = b.
//   A stored job id other than the writer's refuses the write; a lower incarnation too. Only claim() stores a job id:
//   where none is stored, nothing is written and the answer is kDataLost. A done lower than `since` says that data are
//   lost, unless the publication is full; done is 0 where there is no fence, or where a full one has only begun.
//   A sink that finds a part of a job's keys gone answers kDataLost to everything until claim() has removed the rest.
//   A round's end is fenced by (incarnation, epoch, generation of the rank's owner, batch) and applies only if every
//   state partition's done is at or above its batch; otherwise kDataLost.
//
// Real: Redis (adapters/redis_sink.h). Fake: a map with injected faults.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/model/job_plan.h"

namespace millrace {

// The tables of a job; their names, and those of their ranks, are suffixes of "{NAME}:".
using SinkLayout = std::vector<TablePlan>;

// Who writes. Order of age: incarnation, epoch, generation.
struct SinkIdentity {
  std::string job_name;
  JobId job;
  Incarnation incarnation;
  SinkLayout layout;

  bool operator==(const SinkIdentity&) const = default;
};

// One key's result. `text` is what a reader of the sink sees; `score` orders it in a rank. Or one member of a key of an
// index, with its count as `score` and no text: `key` has the key's bytes and behind them, from `member_at` on, the
// member's. There are many entries, so a member has no string of its own.
struct SinkEntry {
  static constexpr uint32_t kNoMember = std::numeric_limits<uint32_t>::max();

  std::string key;
  std::string text;
  double score = 0;
  bool removed = false;
  uint16_t table = 0;  // of the layout
  uint32_t member_at = kNoMember;

  [[nodiscard]] bool is_member() const { return member_at != kNoMember; }
  [[nodiscard]] std::string_view own_key() const { return std::string_view(key).substr(0, member_at); }
  [[nodiscard]] std::string_view member() const { return std::string_view(key).substr(member_at); }
};

// The values of one state partition at batch `batch`: of keys that changed since `since`, or of all keys. Of an index
// the number of members of a key, where that changed, and the members themselves; in full those of a key stand behind
// it, and whatever else the sink holds of it goes when it comes.
struct Publication {
  StatePartition partition;
  Generation generation;
  BatchId since;  // the `done` that these entries build on; ignored when full
  BatchId batch;
  bool full = false;  // all keys of the partition: whatever else the sink holds of it must go
  std::vector<SinkEntry> entries;
};

// The end of a publication round: the job's ranks and status as of `batch`, written in one step.
struct RoundEnd {
  int32_t state_partitions = 0;  // all of them must be done at `batch`
  Generation generation;         // of the rank's owner
  Epoch epoch;
  BatchId batch;
  // Of each table whose rank is written by rounds: the whole rank, highest first.
  std::map<size_t, std::vector<SinkEntry>> ranks;
  std::map<std::string, std::string> status;  // all fields of {NAME}:status
};

enum class PublishOutcome {
  kDone,      // The sink holds it (now, or already did).
  kFenced,    // A younger owner has written: drop the partition and tell the master.
  kDataLost,  // The sink lost earlier values: tell the master, publish in full in the next round.
};

// Lives on one loop; the work is done on the sink's own thread and `done` is called on the loop, in the order of
// the calls; a sink may carry out publications that wait together. Errors: kUnavailable (away, loading, read-only, out
// of memory: the sink reconnects by itself and the caller tries again after a pause), kInvalid (wrong password or type:
// for people to mend, also tried again), kExists (keys of another job under this name).
class Sink {
 public:
  virtual ~Sink() = default;

  // Takes the job's keys for this job id and incarnation. kExists if they belong to another job id and not
  // `take_over`; with `take_over` the keys of the other job are removed first. Called by the master at submit.
  virtual void claim(SinkIdentity identity, bool take_over, std::move_only_function<void(Status)> done) = 0;
  // Removes all keys of the job, if they are this job id's.
  virtual void purge(SinkIdentity identity, std::move_only_function<void(Status)> done) = 0;

  virtual void publish(SinkIdentity identity, Publication publication,
                       std::move_only_function<void(Result<PublishOutcome>)> done) = 0;
  virtual void end_round(SinkIdentity identity, RoundEnd end,
                         std::move_only_function<void(Result<PublishOutcome>)> done) = 0;
};

}  // namespace millrace
