// CheckpointViews: whole tables for readers, page by page, each reader's pages all as of one batch. What is read is a
// complete checkpoint: its files do not change, so whoever owns which partition meanwhile does not matter, and any of
// the job's executors can read any page. See "Views" in ARCHITECTURE.md.
//
// A checkpoint that is being read is pinned, so that its files stay: until nobody has read of it for a minute, and a
// bounded number of them. Nothing else is kept for a reader: where it is stands in what it asks for.
//
// Lives on the master's loop.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/runtime/lifetime.h"
#include "common/seams/clock.h"
#include "common/seams/task_loop.h"
#include "master/checkpoint_coordinator.h"
#include "wire_types.h"

namespace millrace {

class CheckpointViews {
 public:
  struct Limits {
    size_t views = 8;                              // checkpoints that are pinned
    Duration kept_for = std::chrono::seconds(60);  // after the last page
    Duration busy_for = std::chrono::seconds(15);  // so long a reader of several pages is not pushed out by others
    size_t reads = 100;                            // under way
    Duration patience = std::chrono::seconds(15);  // of one
    int64_t totals_pause = 20;                     // times what it took: so long totals are not counted anew,
    Duration most_totals_pause = std::chrono::minutes(10);  // and not longer
    int askings = 3;  // of executors that are gone before they answer: it may be what it asks for that ends them
    Duration totals_wait = std::chrono::seconds(8);  // then older ones are good enough
  };
  struct Hooks {
    std::function<void(ProcessId, BatchId, wire::ReadView)> send;
    // An executor that may read this checkpoint; kNoProcess: there is none now.
    std::function<ProcessId(BatchId)> reader;
    std::function<bool(ProcessId)> is_there;
  };
  struct Question {
    size_t table = 0;  // of the job's plan
    std::string prefix;
    int32_t limit = 1;
    BatchId batch;                     // 0: the newest one's
    std::optional<std::string> after;  // key
  };
  struct Page {
    BatchId batch;
    std::vector<wire::QueryEntry> entries;
    bool more = false;
  };
  struct Totals {
    BatchId batch;
    int64_t keys = 0;
    std::optional<int64_t> sum;
  };
  template <typename T>
  using Done = std::move_only_function<void(Result<T>)>;

  // `coordinator` outlives this.
  CheckpointViews(TaskLoop& loop, const Clock& clock, CheckpointCoordinator& coordinator, int32_t job_version,
                  Hooks hooks, Limits limits);
  ~CheckpointViews();
  CheckpointViews(const CheckpointViews&) = delete;
  CheckpointViews& operator=(const CheckpointViews&) = delete;

  // kDataLost: the checkpoint of this batch is not kept any more. kUnavailable: there is none yet, or nobody to read
  // it.
  void page(Question question, Done<Page> done);
  // As of the newest checkpoint, or, of a large table, of one before it.
  void totals(size_t table, Done<Totals> done);

  void on_reply(ProcessId from, const wire::ViewReply& reply);
  // Executors came or went: what was asked of one that is gone is asked of another one.
  void on_reassigned();
  // The job is at rest: nothing is pinned any more.
  void fail_all(const Error& error);

  [[nodiscard]] size_t views() const { return views_.size(); }

 private:
  struct View {
    size_t reading = 0;
    bool followed = false;  // somebody has read a second page
    MonotonicTime read;
  };
  struct Read {
    BatchId batch;
    wire::ReadView request;
    ProcessId process;  // that was asked
    int askings = 0;
    bool pinned = false;
    bool from_begin = false;
    TaskLoop::TimerId timer = 0;
    Done<wire::ViewReply> done;
  };
  struct Sums {
    std::optional<Totals> newest;
    MonotonicTime counted;
    Duration took{};
    bool counting = false;
    std::map<uint64_t, Done<Totals>> waiting;
  };

  [[nodiscard]] Result<const KeptCheckpoint*> find(BatchId batch) const;
  void read(const KeptCheckpoint& checkpoint, wire::ReadView request, bool from_begin, std::optional<Duration> patience,
            Done<wire::ViewReply> done);
  // False: too many have gone with it.
  bool ask(Read& read);
  void end(int64_t id, Result<wire::ViewReply> result);
  bool pin(BatchId batch, bool followed);
  void unpin_after(BatchId batch, bool more);
  void drop_unread();
  void count(size_t table);

  // Constant after construction.
  TaskLoop& loop_;      // outlives this
  const Clock& clock_;  // outlives this
  CheckpointCoordinator& coordinator_;
  const int32_t job_version_;
  const Hooks hooks_;
  const Limits limits_;

  std::map<BatchId, View> views_;
  bool sweeping_ = false;
  std::map<int64_t, Read> reads_;
  int64_t last_id_ = 0;
  std::map<size_t, Sums> sums_;  // by table
  uint64_t last_waiting_ = 0;
  Lifetime lifetime_;
};

}  // namespace millrace
