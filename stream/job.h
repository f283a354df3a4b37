// Job: what the engine knows of a user's computation: a map that turns records into pairs per state partition,
// and a state table that folds them. The engine moves bytes, partitions and batches; keys and values are typed
// below this interface only (the language of jobs, millrace/job.h, makes one of what a definition says). One virtual
// call per record batch at most; per record and per pair everything is inlined.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/check.h"
#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/model/hash.h"
#include "common/model/job_plan.h"
#include "common/model/job_shape.h"
#include "common/model/shuffle_block.h"
#include "common/model/watermark.h"
#include "common/seams/checkpoint_store.h"
#include "common/seams/output.h"
#include "common/seams/sink.h"

namespace millrace {

// A record that could not be processed; counted always, described as far as the bound of the list goes.
struct DeadLetter {
  Offset offset;
  int64_t timestamp_ms = 0;
  std::string reason;
};

// What the map of a range found. records = processed + dead letters.
struct MapReport {
  static constexpr size_t kMaxLetters = 1000;
  static constexpr size_t kMaxReason = 1024;  // bytes; a reason may quote settings of any length
  int64_t records = 0;
  int64_t dead_letters = 0;
  int64_t emitted = 0;
  int64_t event_ms = 0;             // the greatest event time, 0: none
  int64_t late = 0;                 // records that came too late for some window by event time; no dead letters
  std::vector<DeadLetter> letters;  // the first kMaxLetters

  void add_dead_letter(Offset offset, int64_t timestamp_ms, std::string reason) {
    if (letters.size() < kMaxLetters) {
      if (reason.size() > kMaxReason) shorten(reason);
      letters.push_back({offset, timestamp_ms, std::move(reason)});
    }
    ++dead_letters;
  }

 private:
  // At the start of a character of UTF-8.
  static void shorten(std::string& reason) {
    size_t size = kMaxReason - 3;
    while (size > 0 && (static_cast<uint8_t>(reason[size]) & 0xC0) == 0x80) --size;
    reason.replace(size, std::string::npos, "...");
  }
};

// How far a call into the job's code has come, so that who looks from another thread can tell a slow one from one that
// never returns. Counted by one thread.
class CallSteps {
 public:
  void step() { count_.store(count() + 1, std::memory_order_relaxed); }
  [[nodiscard]] uint64_t count() const { return count_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> count_ = 0;
};

// Owned by one lane and used by its thread only; reused from range to range.
class MapTask {
 public:
  virtual ~MapTask() = default;

  // Calls count their steps here, which outlives this, as far as they know of any.
  virtual void count_steps(CallSteps& /*steps*/) {}

  // Of the batch that all that is mapped until the next finish() belongs to; the same whenever it is mapped again.
  virtual void begin(const MapTimes& /*times*/) {}

  // Maps the records with offsets in `range` among the whole record batches in `bytes`, and combines what they
  // emit with what is there. Called with consecutive bytes until the range is through. kCorrupt: the bytes are
  // no record batches (the report is then worthless).
  virtual Status map(LogPartition partition, OffsetRange range, std::string_view bytes, MapReport& report) = 0;

  // Hands out the pairs of all map() calls since the last finish() as sections ascending by state partition, and
  // forgets them. The sections depend on the records and on begin() alone: a second map of the same range gives the
  // same bytes. A range that is given up half way is followed by a finish() whose result is thrown away.
  virtual std::vector<ShuffleBlock::Section> finish() = 0;
};

// What is known of a batch where it is applied, the same whenever it is applied again.
struct BatchContext {
  BatchId batch;
  // Unix milliseconds, never decreasing. In a job that needs time: a multiple of the batch interval.
  int64_t time_ms = 0;
  // Of a job that needs time: batch time has come to time_ms, with this batch's input; no two ticks have the same time.
  // Otherwise the batch adds to the input of the tick that is to come, and nothing comes to an end with it.
  bool tick = false;
  // Up to which event time all records have come, Unix milliseconds, never decreasing; 0: none, or the job has no event
  // time.
  int64_t watermark_ms = 0;
  // Which shuffle of the batch has brought the sections: 1 the one behind the map, up to Job::levels().
  int32_t level = 1;
};

// What a batch brings for one of a job's outputs: records as common/model/output_lines.h, or as the job's function
// knows them.
struct AppendedRecords {
  size_t output = 0;  // of Job::outputs()
  int64_t records = 0;
  std::string bytes;
  BatchId previous;  // the newest one before that brought records for it; 0: none did
};

// What an index holds of a key: one of its members, and its count.
struct IndexMember {
  std::string member;
  int64_t count = 0;
  bool operator==(const IndexMember&) const = default;
};

// The state of one state partition. Owned by one lane and used by its thread only.
//
// Three lists of changed keys live in it, each with its own end: the old values of batches that are not yet
// applied by the whole job (undo), the keys changed since the last complete checkpoint, and the keys changed
// since the last publication.
class StateTable {
 public:
  virtual ~StateTable() = default;

  // Calls count their steps here, which outlives this, as far as they know of any.
  virtual void count_steps(CallSteps& /*steps*/) {}

  // Merges the sections of a batch in the order given: at level 1 that of log partitions, behind it that of the state
  // partitions that emitted them. Batches come in order, each once at each level, the levels ascending.
  // kCorrupt: a section does not parse; the table is then worthless and must be restored.
  virtual Status apply(const BatchContext& context, std::span<const std::string_view> sections) = 0;
  // What the newest apply() has for the next level, as sections ascending by state partition; asked for once after
  // each apply() at a level below the last. It depends on the state and on the sections applied alone.
  [[nodiscard]] virtual std::vector<ShuffleBlock::Section> take_emitted() { return {}; }
  // What the newest batch appends, of each output that it brings records for; asked for once after its last level.
  [[nodiscard]] virtual std::vector<AppendedRecords> take_appended() { return {}; }
  // The newest apply() changed something: what is read, published or kept in a checkpoint.
  [[nodiscard]] virtual bool changed() const = 0;

  // A published table, by its number in Job::tables(): what read(), top() and top_above() are asked of. This itself
  // answers for the first one.
  [[nodiscard]] virtual StateTable& published(size_t table) {
    CHECK_EQ(table, 0U) << "there is one table here";
    return *this;
  }

  // The value of `key` as text, as of batch `at`: any from the last one passed to forget_undo() to the newest.
  [[nodiscard]] virtual std::optional<std::string> read(std::string_view key, BatchId at) const = 0;
  // Of an index: the first n members of `key` by (count descending, member ascending as bytes) that stand behind
  // `after`, which need not be there; as of `at`, as read().
  [[nodiscard]] virtual std::vector<IndexMember> members(std::string_view /*key*/,
                                                         const std::optional<IndexMember>& /*after*/, size_t /*n*/,
                                                         BatchId /*at*/) const {
    return {};
  }
  // The whole job has applied `applied`: older values will not be asked for.
  virtual void forget_undo(BatchId applied) = 0;

  // Begins a freeze: the keys that changed since the last one, as they are now. Some are added to `run`, unsorted, and
  // all others by freeze_more(), which may be called after later batches too. Until settle_freeze() is called they are
  // remembered; at most one freeze is open.
  virtual void freeze(StatePartition self, StateRun& run) = 0;
  // Adds up to `keys` more of them. False: that was all.
  virtual bool freeze_more(StatePartition /*self*/, StateRun& /*run*/, size_t /*keys*/) { return false; }
  // Both at once.
  void freeze_all(StatePartition self, StateRun& run) {
    freeze(self, run);
    while (freeze_more(self, run, SIZE_MAX)) continue;
  }
  // Forgets the open freeze (its increment is in a complete manifest), or takes its keys back. Without one: nothing.
  virtual void settle_freeze(bool complete) = 0;

  // Sets a key as a checkpoint holds it; for a table that has applied nothing yet, the oldest file first.
  // `unpublished`: the sink may lack it. kCorrupt: the value does not parse.
  virtual Status restore(const StateRun::Entry& entry, bool unpublished) = 0;
  // Before the first restore(): what comes was kept by other code, which numbered these states in this order. All that
  // is restored counts as changed since the last freeze then. kInvalid: this table can make nothing of it.
  virtual Status restore_from(const std::vector<StatePlan>& /*stored*/) {
    return fail(ErrorCode::kInvalid, "the job's code can only go on from checkpoints of its own version");
  }
  // There is no more to restore, if there was anything: called once, before the first apply() or read(). `tick_ms`: the
  // time of the newest tick up to the checkpoint, 0: none.
  virtual void finish_restore(int64_t /*tick_ms*/) {}

  // It no longer knows which removed keys the sink may hold still: the next publication has to be of all keys.
  [[nodiscard]] virtual bool must_publish_all() const { return false; }
  // The keys of all published tables that changed since the last publication (or all keys), as the sink shows them,
  // ascending by table. Until settle_publication() is called they are remembered; at most one is open.
  [[nodiscard]] virtual std::vector<SinkEntry> take_unpublished(bool all) = 0;
  // Forgets the open publication (the sink holds it), or takes its keys back. Without an open one: nothing.
  virtual void settle_publication(bool done) = 0;
  // The n highest by (score descending, key ascending as bytes), as of now. For a table without a rank: empty.
  [[nodiscard]] virtual std::vector<SinkEntry> top(size_t n) = 0;
  // Those of top(n) with a score of at least `at_least`: for one who merges tables and has n of that score already.
  [[nodiscard]] virtual std::vector<SinkEntry> top_above(size_t n, double at_least) = 0;

  [[nodiscard]] virtual int64_t keys() const = 0;
  [[nodiscard]] virtual int64_t memory_bytes() const = 0;

  // What the keys of a published table begin with in checkpoints, where each of them stands there with its value; none:
  // checkpoints have something else, of which the table is made anew.
  [[nodiscard]] virtual std::optional<std::string> checkpoint_prefix(size_t /*table*/) const { return std::nullopt; }

  // What its entries in checkpoints are, see stream/layout.h: a table restores what another one of this layout has
  // frozen.
  [[nodiscard]] virtual std::string layout() const { return ""; }
};

struct JobSetting {
  std::string name;
  std::string default_value;
  std::string description;
};

// A job that a program knows, with its settings.
struct JobType {
  std::string name;
  std::string description;
  std::vector<JobSetting> settings;
};

// One submitted job's code with its settings. Immutable, shared by the lanes of a process.
class Job {
 public:
  virtual ~Job() = default;
  // That it publishes, at least one.
  [[nodiscard]] virtual std::vector<TablePlan> tables() const = 0;
  // True if its states change with batch time alone: each tick is a batch then, at a multiple of the batch interval.
  [[nodiscard]] virtual bool needs_time() const = 0;
  // True if keys of a published table may go.
  [[nodiscard]] virtual bool removes_keys() const = 0;
  // Shuffles that stand one behind the other in a batch, at least 1.
  [[nodiscard]] virtual int32_t levels() const { return 1; }
  // What it keeps, in the order in which checkpoints number it.
  [[nodiscard]] virtual std::vector<StatePlan> states() const { return {}; }
  [[nodiscard]] virtual std::vector<OutputPlan> outputs() const { return {}; }
  // Of an output without a format.
  [[nodiscard]] virtual std::unique_ptr<BatchFunction> make_batch_function(size_t /*output*/) const { return nullptr; }
  // None: its records have no time of their own, and there is no watermark.
  [[nodiscard]] virtual std::optional<EventTimePlan> event_time() const { return std::nullopt; }
  // For people; empty: it does not say.
  [[nodiscard]] virtual JobShape shape() const { return {}; }
  [[nodiscard]] virtual std::unique_ptr<MapTask> make_map_task() const = 0;
  [[nodiscard]] virtual std::unique_ptr<StateTable> make_state_table() const = 0;
};

inline JobPlan plan_of(const Job& job) {
  return {job.tables(), job.needs_time(), job.removes_keys(), job.levels(),
          job.states(), job.outputs(),    job.event_time()};
}

// What every job is given besides its own settings.
struct JobContext {
  std::map<std::string, std::string> settings;
  int32_t state_partitions = 64;
  int32_t partition_hash = 1;
  int64_t max_record_bytes = 1 << 20;
  int64_t batch_interval_us = 100'000;
  std::vector<std::string> topics;  // of its source, in that order; what a job is made of does not depend on them
};

// Makes a job of a type name. kNotFound: no such type (the message lists the types there are). kInvalid: an
// unknown or malformed setting (the message lists the settings).
using JobFactory = std::function<Result<std::shared_ptr<const Job>>(const std::string& type, const JobContext&)>;

}  // namespace millrace
