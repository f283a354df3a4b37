#include "millrace/testing.h"

#include <algorithm>
#include <stdexcept>

#include "common/model/job_plan.h"
#include "common/model/output_lines.h"
#include "common/model/shuffle_block.h"
#include "common/model/source_topics.h"
#include "common/model/state_changes.h"

namespace millrace::testing {
namespace {

void require(const Status& status) {
  if (!status) throw std::logic_error(status.error().message);
}

}  // namespace

TestJob::TestJob(const JobDefinition& definition, Options options)
    : options_(std::move(options)), job_(make(definition, options_.settings)) {
  if (job_->event_time()) watermark_.emplace(*job_->event_time(), options_.batch_interval.count() / 1000, 0);
  map_task_ = job_->make_map_task();
  follow_plan();
  make_tables();
  for (const auto& table : tables_) table->finish_restore(0);
}

void TestJob::follow_plan() {
  plans_ = job_->tables();
  const auto is_of_former = [this](const auto& table) {
    return std::ranges::find(plans_, table.first, &TablePlan::name) == plans_.end();
  };
  std::erase_if(sink_, is_of_former);
  for (const TablePlan& plan : plans_) sink_[plan.name];
  outputs_ = job_->outputs();
  functions_.clear();
  for (size_t i = 0; i < outputs_.size(); ++i) {
    functions_.push_back(outputs_[i].format.empty() ? job_->make_batch_function(i) : nullptr);
  }
}

std::shared_ptr<const Job> TestJob::make(const JobDefinition& definition,
                                         const std::map<std::string, std::string>& settings) const {
  JobContext context;
  context.settings = settings;
  context.state_partitions = options_.state_partitions;
  context.max_record_bytes = options_.max_record_bytes;
  context.batch_interval_us = options_.batch_interval.count();
  context.topics = options_.topics;
  auto job = make_job(definition, context);
  if (!job) throw std::invalid_argument(job.error().message);
  return *std::move(job);
}

void TestJob::make_tables() {
  tables_.clear();
  for (int32_t p = 0; p < options_.state_partitions; ++p) tables_.push_back(job_->make_state_table());
}

void TestJob::push(Input record, int32_t partition) {
  const auto& topics = options_.topics;
  const auto topic = record.topic ? std::ranges::find(topics, *record.topic) : topics.begin();
  if (record.topic && topic == topics.end()) {
    throw std::invalid_argument("'" + *record.topic + "' is none of the test's topics");
  }
  const auto index = static_cast<size_t>(topic - topics.begin());
  const LogPartition number = log_partition(index, partition);
  if (watermark_) watermark_->add(number);
  pushed_.push_back({number.value(), std::move(record)});
}

void TestJob::advance(std::chrono::milliseconds duration) {
  if (duration.count() < 0) throw std::invalid_argument("batch time never goes back");
  now_ += duration;
}

void TestJob::run_batch() {
  now_ += options_.batch_interval;
  run(now_, job_->needs_time());
}

void TestJob::run_early_batch() {
  run(now_ + options_.batch_interval, false);
}

void TestJob::run(std::chrono::microseconds time, bool tick) {
  std::ranges::stable_sort(pushed_, {}, &Pushed::partition);
  Batch batch;
  time -= time % options_.batch_interval;
  batch.context = {newest_.batch.next(), std::chrono::floor<std::chrono::milliseconds>(time).count(), tick};
  if (watermark_) batch.context.watermark_ms = ended_ ? kEndOfTime_ms : watermark_->take(batch.context.time_ms, {});
  for (Pushed& pushed : pushed_) {
    int64_t& next = next_offset_[pushed.partition];
    if (batch.ranges.empty() || batch.ranges.back().partition != pushed.partition) {
      batch.ranges.push_back({pushed.partition, {Offset(next), Offset(next)}, {}});
    }
    batch.ranges.back().records.push_back(std::move(pushed.record));
    batch.ranges.back().range.to = Offset(++next);
  }
  pushed_.clear();
  apply(batch, false);
  newest_ = batch.context;
  if (tick) newest_tick_ms_ = newest_.time_ms;
  since_checkpoint_.push_back(std::move(batch));
  publish();
}

std::vector<std::string> TestJob::pieces(const Range& range, size_t records) {
  std::vector<std::string> pieces;
  RecordBatchBuilder builder;
  Offset offset = range.range.from;
  for (const Input& record : range.records) {
    builder.add(offset, record.timestamp_ms, record.key, record.value);
    offset = offset.next();
    if (static_cast<size_t>(builder.count()) >= records) pieces.push_back(builder.finish());
  }
  if (!builder.empty()) pieces.push_back(builder.finish());
  return pieces;
}

void TestJob::apply(Batch& batch, bool again) {
  Sections sections;
  for (Range& range : batch.ranges) {
    MapReport report;
    // Batch time is no clock in a test: no record is ahead of it.
    map_task_->begin({kLastEventTime_ms, batch.context.watermark_ms});
    const size_t size = again ? options_.piece_records / 2 + 1 : options_.piece_records;
    for (const std::string& piece : pieces(range, size)) {
      require(map_task_->map(LogPartition(range.partition), range.range, piece, report));
    }
    ShuffleBlock block;
    block.sections = map_task_->finish();
    const uint64_t fingerprint = block.fingerprint();
    if (again && fingerprint != range.fingerprint) {
      throw std::logic_error("batch " + std::to_string(batch.context.batch.value()) + ", log partition " +
                             std::to_string(range.partition) +
                             " gave other pairs when it was run again; the job's code is not deterministic");
    }
    range.fingerprint = fingerprint;
    for (ShuffleBlock::Section& section : block.sections) {
      sections[section.partition].push_back(std::move(section.bytes));
    }
    if (again) continue;
    records_ += report.records;
    late_records_ += report.late;
    if (watermark_) watermark_->tell(LogPartition(range.partition), report.event_ms);
    for (DeadLetter& letter : report.letters) {
      const LogPartition partition(range.partition);
      const size_t topic = topic_index(partition);
      letters_.push_back({topic < options_.topics.size() ? options_.topics[topic] : "", topic_partition(partition),
                          letter.offset, std::move(letter.reason)});
    }
  }
  apply_levels(batch, std::move(sections), again);
  append(batch, again);
}

void TestJob::append(Batch& batch, bool again) {
  std::map<std::pair<size_t, int32_t>, std::string> appended;
  for (int32_t p = 0; p < options_.state_partitions; ++p) {
    for (AppendedRecords& records : table_of(StatePartition(p)).take_appended()) {
      auto bytes = std::make_shared<const std::string>(std::move(records.bytes));
      appended[{records.output, p}] = *bytes;
      if (functions_[records.output] != nullptr) {
        OutputBatch of{p, Generation(1), batch.context.batch, batch.context.time_ms, records.records, std::move(bytes)};
        require(functions_[records.output]->call(of));
      } else if (!again) {
        OutputLines lines(*bytes);
        std::optional<std::string_view> key;
        for (std::string_view line; lines.next(key, line);)
          lines_[{outputs_[records.output].name, p}].emplace_back(line);
      }
    }
  }
  if (again && appended != batch.appended) {
    throw std::logic_error("batch " + std::to_string(batch.context.batch.value()) +
                           " appended other records when it was run again; the job's code is not deterministic");
  }
  batch.appended = std::move(appended);
}

std::vector<std::string> TestJob::lines(const std::string& name) const {
  if (std::ranges::find(outputs_, name, &OutputPlan::name) == outputs_.end()) {
    throw std::invalid_argument("the job has no output '" + name + "'");
  }
  std::vector<std::string> all;
  for (const auto& [place, lines] : lines_) {
    if (place.first == name) all.insert(all.end(), lines.begin(), lines.end());
  }
  return all;
}

// Once more in the other order of partitions, which must not matter.
void TestJob::apply_levels(Batch& batch, Sections sections, bool again) {
  const auto partitions = static_cast<size_t>(options_.state_partitions);
  batch.fingerprints.resize(static_cast<size_t>(job_->levels() - 1) * partitions);
  for (BatchContext context = batch.context; context.level <= job_->levels(); ++context.level) {
    std::vector<std::vector<ShuffleBlock::Section>> emitted(partitions);
    for (size_t i = 0; i < partitions; ++i) {
      const StatePartition partition(static_cast<int32_t>(again ? partitions - 1 - i : i));
      std::vector<std::string_view> views;
      for (const SharedBuffer& section : sections[partition]) views.push_back(section.view());
      require(table_of(partition).apply(context, views));
      if (context.level < job_->levels()) emitted[i] = table_of(partition).take_emitted();
    }
    if (again) std::ranges::reverse(emitted);
    sections.clear();
    for (size_t p = 0; p < partitions && context.level < job_->levels(); ++p) {
      ShuffleBlock block;
      block.sections = std::move(emitted[p]);
      uint64_t& fingerprint = batch.fingerprints[static_cast<size_t>(context.level - 1) * partitions + p];
      if (again && fingerprint != block.fingerprint()) {
        throw std::logic_error("batch " + std::to_string(context.batch.value()) + ", state partition " +
                               std::to_string(p) + " gave other pairs behind shuffle " + std::to_string(context.level) +
                               " when it was run again; the job's code is not deterministic");
      }
      fingerprint = block.fingerprint();
      for (ShuffleBlock::Section& section : block.sections) {
        sections[section.partition].push_back(std::move(section.bytes));
      }
    }
  }
  for (const auto& table : tables_) table->forget_undo(batch.context.batch);
}

void TestJob::forget_published(StatePartition partition) {
  for (auto& [name, table] : sink_) {
    std::erase_if(table, [&](const auto& entry) {
      return state_partition_of(entry.first, options_.state_partitions) == partition;
    });
  }
}

void TestJob::publish(bool everything) {
  for (int32_t p = 0; p < options_.state_partitions; ++p) {
    StateTable& table = table_of(StatePartition(p));
    const bool all = everything || table.must_publish_all();
    if (all) forget_published(StatePartition(p));
    for (SinkEntry& entry : table.take_unpublished(all)) {
      if (entry.is_member()) continue;  // docs() asks the table
      auto& shown = sink_[plans_[entry.table].name];
      if (entry.removed) {
        shown.erase(entry.key);
      } else {
        shown[entry.key] = std::move(entry.text);
      }
    }
    table.settle_publication(true);
  }
}

void TestJob::checkpoint() {
  StateRun run;
  for (int32_t p = 0; p < options_.state_partitions; ++p) {
    table_of(StatePartition(p)).freeze_all(StatePartition(p), run);
    table_of(StatePartition(p)).settle_freeze(true);
  }
  run.sort();
  checkpoint_tick_ms_ = newest_tick_ms_;
  checkpoints_.push_back(std::move(run));
  since_checkpoint_.clear();
}

void TestJob::crash() {
  map_task_ = job_->make_map_task();
  make_tables();
  restore(checkpoints_);
  for (Batch& batch : since_checkpoint_) apply(batch, true);
  publish();
}

void TestJob::restore(const std::vector<StateRun>& checkpoints) {
  for (const StateRun& run : checkpoints) {
    for (size_t i = 0; i < run.size(); ++i) require(table_of(run[i].partition).restore(run[i], true));
  }
  for (const auto& table : tables_) table->finish_restore(checkpoint_tick_ms_);
}

void TestJob::upgrade(const JobDefinition& definition, std::map<std::string, std::string> settings) {
  checkpoint();
  auto upgraded = make(definition, settings);
  const std::vector<StatePlan> stored = job_->states();
  const Status possible = check_states(changes_of_states(stored, upgraded->states()));
  if (!possible) throw std::invalid_argument(possible.error().message);
  job_ = std::move(upgraded);
  map_task_ = job_->make_map_task();
  follow_plan();
  make_tables();
  for (const auto& table : tables_) require(table->restore_from(stored));
  restore(std::exchange(checkpoints_, {}));
  checkpoint();  // of everything, which no former one is a part of
  publish(true);
}

size_t TestJob::number_of(const std::string& table, WantedTable wanted) const {
  const Result<size_t> number = find_table(plans_, table, wanted, "the job");
  if (!number) throw std::invalid_argument(number.error().message);
  return *number;
}

const std::map<std::string, std::string>& TestJob::table(const std::string& name) const {
  return sink_.at(plans_[number_of(name, WantedTable::kAny)].name);
}

StateTable& TestJob::published_of(std::string_view key, const std::string& table, WantedTable wanted) const {
  const StatePartition partition = state_partition_of(key, options_.state_partitions);
  return tables_[static_cast<size_t>(partition.value())]->published(number_of(table, wanted));
}

std::optional<std::string> TestJob::get(std::string_view key, const std::string& table) const {
  return published_of(key, table, WantedTable::kAny).read(key, newest_.batch);
}

std::vector<std::pair<std::string, int64_t>> TestJob::docs(std::string_view key, size_t limit,
                                                           const std::optional<std::pair<std::string, int64_t>>& after,
                                                           const std::string& table) const {
  std::optional<IndexMember> cursor;
  if (after) cursor.emplace(after->first, after->second);
  std::vector<std::pair<std::string, int64_t>> docs;
  for (IndexMember& each : published_of(key, table, WantedTable::kIndex).members(key, cursor, limit, newest_.batch)) {
    docs.emplace_back(std::move(each.member), each.count);
  }
  return docs;
}

std::vector<std::pair<std::string, std::string>> TestJob::top(size_t n, const std::string& table) {
  const size_t number = number_of(table, WantedTable::kRanked);
  std::vector<SinkEntry> all;
  for (const auto& states : tables_) std::ranges::move(states->published(number).top(n), std::back_inserter(all));
  std::ranges::sort(all, [](const SinkEntry& a, const SinkEntry& b) {
    return a.score != b.score ? a.score > b.score : a.key < b.key;
  });
  std::vector<std::pair<std::string, std::string>> first;
  for (size_t i = 0; i < std::min(n, all.size()); ++i) first.emplace_back(all[i].key, all[i].text);
  return first;
}

}  // namespace millrace::testing
