#include "local/local_run.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "adapters/bounded_log.h"
#include "adapters/open_log.h"
#include "adapters/open_output.h"
#include "adapters/open_receiver.h"
#include "adapters/open_sink.h"
#include "adapters/table_sink.h"
#include "common/base/check.h"
#include "common/model/source_topics.h"
#include "local/input_log.h"
#include "local/local_cluster.h"
#include "stream/job.h"

namespace millrace {
namespace {

using client::BadRecord;
using client::LocalRunSpec;
using client::LocalRunState;

constexpr char kInput[] = "log://input";  // what the engine calls an InputLog
// What comes by append(), or by a receiver.
bool is_input(const std::string& source) {
  return source.empty() || source.starts_with("socket:") || source.starts_with("directory:");
}

class LocalRunOnCluster final : public client::LocalRun {
 public:
  explicit LocalRunOnCluster(const LocalRunSpec& spec)
      : spec_(spec),
        input_(is_input(spec.request.source) ? std::make_unique<InputLog>(spec.lanes, clock_) : nullptr),
        topics_(SourceTopics::of(spec.request.source)),
        bounds_(std::make_shared<LogBounds>()),
        table_(std::make_shared<ResultTable>()),
        cluster_(std::make_unique<LocalCluster>(
            spec.lanes,
            LocalCluster::Seams{
                .make_log = [this](const auto& job, TaskLoop& loop) { return make_log(job, loop); },
                .make_sink = [this](const auto& job, TaskLoop& loop) { return make_sink(job, loop); },
                .make_output = [this](const auto& target, TaskLoop& loop) { return make_output(target, loop); }})) {
    if (input_ != nullptr) table_->on_round([this] { input_->forget_below(counted(input_->description())); });
  }
  ~LocalRunOnCluster() override { end(); }
  LocalRunOnCluster(const LocalRunOnCluster&) = delete;
  LocalRunOnCluster& operator=(const LocalRunOnCluster&) = delete;

  Status start() {
    api::SubmitRequest request = spec_.request;
    if (input_ != nullptr && !request.source.empty()) {
      auto receiver =
          open_receiver({request.source, static_cast<size_t>(request.max_record_bytes), spec_.until_latest});
      if (!receiver) return std::unexpected(receiver.error());
      receiver_ = std::move(*receiver);
    }
    if (input_ != nullptr) request.source = kInput;
    const auto job = cluster_->submit(request);
    if (!job) return std::unexpected(job.error());
    if (receiver_ != nullptr) receiver_->start(*input_);
    return {};
  }

  bool append(std::span<const std::string_view> lines) override {
    const int64_t first_line = lines_ + 1;
    lines_ += static_cast<int64_t>(lines.size());
    return input_->append({.lines = lines, .first_line = first_line});
  }
  void end_input() override { input_->end({}); }
  void refuse_input() override { input_->close(); }

  LocalRunState state(const std::string& table, size_t top) override {
    LocalRunState state;
    cluster_->run([&] { fill_state(table, state, top); });
    return state;
  }

  std::vector<BadRecord> bad_records(int32_t limit) override {
    std::vector<BadRecord> bad;
    cluster_->run([&] {
      // What it asks is in memory, so that it is answered at once.
      cluster_->service().dead_letters(spec_.request.name, limit, 0, 0, "", [&](Result<api::DeadLetters> letters) {
        if (!letters) return;
        for (const api::DeadLetter& letter : letters->letters) bad.push_back({place_of(letter), letter.reason});
      });
    });
    return bad;
  }

  void end() override {
    if (input_ != nullptr) input_->close();
    receiver_.reset();
    cluster_.reset();
  }

  // As a rank orders: ties by bytes.
  void for_each_value(const std::string& table,
                      const std::function<void(const std::string&, const std::string&)>& use) override {
    CHECK(cluster_ == nullptr);
    std::vector<const ResultTable::Entry*> entries = table_->entries(table);
    std::ranges::sort(entries, [by_score = table_->has_rank(table)](const auto* left, const auto* right) {
      if (by_score && left->second.score != right->second.score) return left->second.score > right->second.score;
      return left->first < right->first;
    });
    for (const ResultTable::Entry* entry : entries) use(entry->first, entry->second.text);
  }

 private:
  Result<std::unique_ptr<Log>> make_log(const wire::JobSpec& job, TaskLoop& loop) {
    if (input_ != nullptr) return input_->reader(loop);
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

  Result<std::unique_ptr<Output>> make_output(const OutputTarget& target, TaskLoop& loop) {
    if (!target.uri.empty() || target.plan.format.empty()) return open_output(loop, target);
    return make_shown_output(loop, spec_.show_lines);
  }

  // On the control loop: these.
  [[nodiscard]] int64_t status_number(const std::string& field) const {
    const auto found = table_->status().find(field);
    return found == table_->status().end() ? 0 : std::stoll(found->second);
  }

  // What there is to count, as far as it is known; none: the source has no end.
  [[nodiscard]] std::optional<LogDescription> known_range() const {
    if (input_ != nullptr) return input_->whole();
    return spec_.until_latest ? bounds_->first() : std::nullopt;
  }

  void fill_state(const std::string& table, LocalRunState& state, size_t top) {
    const JobController* job = cluster_->find_job(spec_.request.name);
    const api::JobSummary summary = job == nullptr ? api::JobSummary() : job->summary();
    state.problem = summary.problem;
    state.failure = summary.state == "failed" ? summary.problem : cluster_->failure();
    if (input_ != nullptr && state.problem.empty()) state.problem = input_->problem();
    if (input_ != nullptr && state.failure.empty()) state.failure = input_->failure();
    state.records = status_number("records");
    state.dead_letters = status_number("dead_letters");
    state.late = summary.late;
    state.has_rank = table_->has_rank(table);
    for (const SinkEntry& entry : table_->rank(table)) {
      if (state.top.size() == top) break;
      state.top.emplace_back(entry.key, entry.text);
    }
    if (const auto range = known_range()) {
      fill_progress(*range, state);
    } else if (input_ != nullptr) {
      fill_progress(input_->description(), state);
      state.finished = false;
      state.done_of_known *= input_->share();
    }
    state.finished = state.finished && !cluster_->is_appending();
  }

  // Of these partitions, those that the newest round has counted something of.
  [[nodiscard]] LogOffsets counted(const LogDescription& range) const {
    const std::map<std::string, Offset> offsets = table_->offsets();
    LogOffsets found;
    for (const LogDescription::Partition& partition : range.partitions) {
      const auto offset = offsets.find(topics_.label(partition.id));
      if (offset != offsets.end()) found[partition.id] = offset->second;
    }
    return found;
  }

  void fill_progress(const LogDescription& range, LocalRunState& state) const {
    const LogOffsets offsets = counted(range);
    int64_t all = 0;
    int64_t left = 0;
    for (const LogDescription::Partition& partition : range.partitions) {
      const Offset begin = input_ != nullptr ? Offset(0) : partition.begin;
      const auto found = offsets.find(partition.id);
      const Offset to = found != offsets.end() ? found->second : begin;
      all += partition.end.value() - begin.value();
      left += std::max<int64_t>(0, partition.end.value() - to.value());
    }
    state.finished = left == 0 && event_time_has_ended();
    state.done_of_known = all == 0 ? 1 : 1 - static_cast<double>(left) / static_cast<double>(all);
  }

  // All that was there is counted. Of a job by event time: its windows are closed, and what comes of that is shown too.
  [[nodiscard]] bool event_time_has_ended() const {
    JobController* const job = cluster_->find_job(spec_.request.name);
    if (job == nullptr) return true;
    const std::optional<BatchId> first = job->end_event_time();
    if (!first) return true;
    const api::JobSummary summary = job->summary();
    return BatchId(summary.applied.batch) >= *first && summary.applied.batch > summary.changed &&
           summary.published >= summary.changed;
  }

  [[nodiscard]] std::string place_of(const api::DeadLetter& letter) const {
    const LogPartition partition(letter.partition);
    if (input_ != nullptr) return input_->place_of(partition, Offset(letter.offset));
    return "partition " + std::to_string(letter.partition) +
           (topics_.several() ? " of topic '" + letter.topic + "'" : "") + ", offset " + std::to_string(letter.offset);
  }

  // Constant after construction.
  const LocalRunSpec spec_;
  const SystemClock clock_;
  const std::unique_ptr<InputLog> input_;  // null: the source is a log
  const SourceTopics topics_;
  const std::shared_ptr<LogBounds> bounds_;

  int64_t lines_ = 0;  // of append()

  // The control loop's.
  const std::shared_ptr<ResultTable> table_;

  // Null after end().
  std::unique_ptr<LocalCluster> cluster_;
  std::unique_ptr<Receiver> receiver_;
};

}  // namespace

Result<std::unique_ptr<client::LocalRun>> start_local_run(const LocalRunSpec& spec) {
  auto run = std::make_unique<LocalRunOnCluster>(spec);
  if (const Status started = run->start(); !started) return std::unexpected(started.error());
  return run;
}

}  // namespace millrace
