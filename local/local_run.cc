#include "local/local_run.h"

#include <algorithm>
#include <mutex>
#include <optional>
#include <utility>

#include "adapters/bounded_log.h"
#include "adapters/memory_log.h"
#include "adapters/open_log.h"
#include "adapters/open_sink.h"
#include "adapters/table_sink.h"
#include "common/base/check.h"
#include "local/local_cluster.h"
#include "stream/job.h"

namespace millrace {
namespace {

using client::BadRecord;
using client::LocalRunSpec;
using client::LocalRunState;

constexpr char kInput[] = "log://input";  // what the engine calls the lines of append()
// Of input that is not counted yet: enough for what is read ahead, in flight, and fetched meanwhile.
constexpr size_t kInputBytes = 128 << 20;

// Lines of the input, and the log partition and offsets they went to.
class InputLines {
 public:
  void add(LogPartition partition, Offset from, int64_t lines) {
    const std::scoped_lock lock(mutex_);
    groups_.push_back({partition, from, lines_ + 1});
    lines_ += lines;
  }
  [[nodiscard]] int64_t line_of(LogPartition partition, Offset offset) const {
    const std::scoped_lock lock(mutex_);
    int64_t line = 0;
    for (const Group& group : groups_) {
      if (group.partition == partition && group.from <= offset) {
        line = group.first_line + offset.value() - group.from.value();
      }
    }
    return line;
  }

 private:
  struct Group {
    LogPartition partition;
    Offset from;
    int64_t first_line;
  };
  mutable std::mutex mutex_;
  std::vector<Group> groups_;  // in the order of the input
  int64_t lines_ = 0;
};

class LocalRunOnCluster final : public client::LocalRun {
 public:
  explicit LocalRunOnCluster(const LocalRunSpec& spec)
      : spec_(spec),
        from_input_(spec.request.source.empty()),
        topic_(std::make_shared<MemoryTopic>(spec.lanes, kInputBytes)),
        bounds_(std::make_shared<LogBounds>()),
        table_(std::make_shared<ResultTable>()),
        cluster_(std::make_unique<LocalCluster>(
            spec.lanes, LocalCluster::Seams{
                            .make_log = [this](const auto& job, TaskLoop& loop) { return make_log(job, loop); },
                            .make_sink = [this](const auto& job, TaskLoop& loop) { return make_sink(job, loop); }})) {
    if (from_input_) table_->on_round([this] { forget_counted(); });
  }

  Status start() {
    api::SubmitRequest request = spec_.request;
    if (from_input_) request.source = kInput;
    const auto job = cluster_->submit(request);
    if (!job) return std::unexpected(job.error());
    return {};
  }

  bool append(std::span<const std::string_view> lines) override {
    const Offset from = topic_->end(next_);
    lines_.add(next_, from, static_cast<int64_t>(lines.size()));
    if (!topic_->append(next_, lines, clock_.wall_now().unix_ms)) return false;
    next_ = LogPartition((next_.value() + 1) % spec_.lanes);
    return true;
  }
  void end_input() override {
    const LogDescription all = topic_->describe();
    cluster_->run([&] { input_end_ = all; });
  }
  void refuse_input() override { topic_->close(); }

  LocalRunState state(size_t top) override {
    LocalRunState state;
    cluster_->run([&] { fill_state(state, top); });
    return state;
  }

  std::vector<BadRecord> bad_records(int32_t limit) override {
    std::vector<BadRecord> bad;
    cluster_->run([&] {
      // What it asks is in memory, so that it is answered at once.
      cluster_->service().dead_letters(spec_.request.name, limit, 0, 0, [&](Result<api::DeadLetters> letters) {
        if (!letters) return;
        for (const api::DeadLetter& letter : letters->letters) bad.push_back({place_of(letter), letter.reason});
      });
    });
    return bad;
  }

  void end() override { cluster_.reset(); }

  // As a rank orders: ties by bytes.
  void for_each_value(const std::function<void(const std::string&, const std::string&)>& use) override {
    CHECK(cluster_ == nullptr);
    std::vector<const ResultTable::Entry*> entries = table_->entries();
    std::ranges::sort(entries, [by_score = table_->has_rank()](const auto* left, const auto* right) {
      if (by_score && left->second.score != right->second.score) return left->second.score > right->second.score;
      return left->first < right->first;
    });
    for (const ResultTable::Entry* entry : entries) use(entry->first, entry->second.text);
  }

 private:
  Result<std::unique_ptr<Log>> make_log(const wire::JobSpec& job, TaskLoop& loop) {
    if (from_input_) return std::make_unique<MemoryLog>(topic_, loop);
    auto log = open_log(loop, {job.source, job.source_config, spec_.logs, job.start_offsets.size()});
    if (!log || !spec_.until_latest) return log;
    return std::make_unique<BoundedLog>(std::move(*log), bounds_);
  }

  Result<std::unique_ptr<Sink>> make_sink(const wire::JobSpec& job, TaskLoop& loop) {
    auto next = open_sink(loop, {job.sink, job.sink_config}, [partitions = job.state_partitions](auto key) {
      return state_partition_of(key, partitions);
    });
    if (!next) return next;
    if (job.sink.starts_with("none:")) next->reset();
    return std::make_unique<TableSink>(loop, table_, std::move(*next));
  }

  // On the control loop: these.
  void forget_counted() {
    const std::vector<Offset> offsets = table_->offsets();
    for (size_t index = 0; index < offsets.size(); ++index) {
      topic_->forget_below(LogPartition(static_cast<int32_t>(index)), offsets[index]);
    }
  }

  [[nodiscard]] int64_t status_number(const std::string& field) const {
    const auto found = table_->status().find(field);
    return found == table_->status().end() ? 0 : std::stoll(found->second);
  }

  // What there is to count, as far as it is known; none: the source has no end.
  [[nodiscard]] std::optional<LogDescription> known_range() const {
    if (from_input_) return input_end_;
    return spec_.until_latest ? bounds_->first() : std::nullopt;
  }

  void fill_state(LocalRunState& state, size_t top) {
    const JobController* job = cluster_->find_job(spec_.request.name);
    const api::JobSummary summary = job == nullptr ? api::JobSummary() : job->summary();
    state.problem = summary.problem;
    state.failure = summary.state == "failed" ? summary.problem : cluster_->failure();
    state.records = status_number("records");
    state.dead_letters = status_number("dead_letters");
    state.has_rank = table_->has_rank();
    for (const SinkEntry& entry : table_->rank()) {
      if (state.top.size() == top) break;
      state.top.emplace_back(entry.key, entry.text);
    }
    if (const auto range = known_range()) fill_progress(*range, state);
  }

  void fill_progress(const LogDescription& range, LocalRunState& state) const {
    const std::vector<Offset> counted = table_->offsets();
    int64_t all = 0;
    int64_t left = 0;
    for (size_t index = 0; index < range.partitions.size(); ++index) {
      const LogDescription::Partition& partition = range.partitions[index];
      const Offset begin = from_input_ ? Offset(0) : partition.begin;
      const Offset to = index < counted.size() ? counted[index] : begin;
      all += partition.end.value() - begin.value();
      left += std::max<int64_t>(0, partition.end.value() - to.value());
    }
    state.finished = left == 0;
    state.done_of_known = all == 0 ? 1 : 1 - static_cast<double>(left) / static_cast<double>(all);
  }

  [[nodiscard]] std::string place_of(const api::DeadLetter& letter) const {
    const LogPartition partition(letter.partition);
    if (from_input_) return "line " + std::to_string(lines_.line_of(partition, Offset(letter.offset)));
    return "partition " + std::to_string(letter.partition) + ", offset " + std::to_string(letter.offset);
  }

  // Constant after construction.
  const LocalRunSpec spec_;
  const bool from_input_;
  const SystemClock clock_;
  const std::shared_ptr<MemoryTopic> topic_;
  const std::shared_ptr<LogBounds> bounds_;

  LogPartition next_{0};  // of append()
  InputLines lines_;

  // The control loop's.
  const std::shared_ptr<ResultTable> table_;
  std::optional<LogDescription> input_end_;

  std::unique_ptr<LocalCluster> cluster_;  // last: its loops end first; null after end()
};

}  // namespace

Result<std::unique_ptr<client::LocalRun>> start_local_run(const LocalRunSpec& spec) {
  auto run = std::make_unique<LocalRunOnCluster>(spec);
  if (const Status started = run->start(); !started) return std::unexpected(started.error());
  return run;
}

}  // namespace millrace
