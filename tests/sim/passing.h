// A job, its map and its tables that pass everything on to real ones: what stands between overrides what it spoils, or
// watches.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "stream/job.h"

namespace millrace {

class PassingTable : public StateTable {
 public:
  explicit PassingTable(std::unique_ptr<StateTable> real) : real_(std::move(real)) {}
  Status apply(const BatchContext& context, std::span<const std::string_view> sections) override {
    return real_->apply(context, sections);
  }
  [[nodiscard]] std::vector<ShuffleBlock::Section> take_emitted() override { return real_->take_emitted(); }
  std::vector<AppendedRecords> take_appended() override { return real_->take_appended(); }
  [[nodiscard]] std::optional<std::string> read(std::string_view key, BatchId at) const override {
    return real_->read(key, at);
  }
  [[nodiscard]] StateTable& published(size_t table) override { return table == 0 ? *this : real_->published(table); }
  [[nodiscard]] std::vector<IndexMember> members(std::string_view key, const std::optional<IndexMember>& after,
                                                 size_t n, BatchId at) const override {
    return real_->members(key, after, n, at);
  }
  void forget_undo(BatchId applied) override { real_->forget_undo(applied); }
  [[nodiscard]] std::optional<std::string> checkpoint_prefix(size_t table) const override {
    return real_->checkpoint_prefix(table);
  }
  void freeze(StatePartition self, StateRun& run) override { real_->freeze(self, run); }
  bool freeze_more(StatePartition self, StateRun& run, size_t keys) override {
    return real_->freeze_more(self, run, keys);
  }
  void settle_freeze(bool complete) override { real_->settle_freeze(complete); }
  Status restore(const StateRun::Entry& entry, bool unpublished) override { return real_->restore(entry, unpublished); }
  Status restore_from(const std::vector<StatePlan>& stored) override { return real_->restore_from(stored); }
  void finish_restore(int64_t tick_ms) override { real_->finish_restore(tick_ms); }
  [[nodiscard]] bool changed() const override { return real_->changed(); }
  [[nodiscard]] bool must_publish_all() const override { return real_->must_publish_all(); }
  [[nodiscard]] std::vector<SinkEntry> take_unpublished(bool all) override { return real_->take_unpublished(all); }
  void settle_publication(bool done) override { real_->settle_publication(done); }
  [[nodiscard]] std::vector<SinkEntry> top(size_t n) override { return real_->top(n); }
  [[nodiscard]] std::vector<SinkEntry> top_above(size_t n, double at_least) override {
    return real_->top_above(n, at_least);
  }
  [[nodiscard]] int64_t keys() const override { return real_->keys(); }
  [[nodiscard]] int64_t memory_bytes() const override { return real_->memory_bytes(); }

 protected:
  const std::unique_ptr<StateTable> real_;
};

class PassingMap : public MapTask {
 public:
  explicit PassingMap(std::unique_ptr<MapTask> real) : real_(std::move(real)) {}
  void begin(const MapTimes& times) override { real_->begin(times); }
  Status map(LogPartition partition, OffsetRange range, std::string_view bytes, MapReport& report) override {
    return real_->map(partition, range, bytes, report);
  }
  std::vector<ShuffleBlock::Section> finish() override { return real_->finish(); }

 protected:
  const std::unique_ptr<MapTask> real_;
};

using TableMaker = std::function<std::unique_ptr<StateTable>(std::unique_ptr<StateTable>)>;
using MapMaker = std::function<std::unique_ptr<MapTask>(std::unique_ptr<MapTask>)>;

// Its tables and map tasks are wrapped as it is told; null: as they are.
class PassingJob : public Job {
 public:
  explicit PassingJob(std::shared_ptr<const Job> real, TableMaker table, MapMaker map = nullptr)
      : real_(std::move(real)), table_(std::move(table)), map_(std::move(map)) {}
  [[nodiscard]] std::vector<TablePlan> tables() const override { return real_->tables(); }
  [[nodiscard]] std::vector<StatePlan> states() const override { return real_->states(); }
  [[nodiscard]] bool needs_time() const override { return real_->needs_time(); }
  [[nodiscard]] bool removes_keys() const override { return real_->removes_keys(); }
  [[nodiscard]] int32_t levels() const override { return real_->levels(); }
  [[nodiscard]] std::vector<OutputPlan> outputs() const override { return real_->outputs(); }
  [[nodiscard]] std::unique_ptr<BatchFunction> make_batch_function(size_t output) const override {
    return real_->make_batch_function(output);
  }
  [[nodiscard]] std::optional<EventTimePlan> event_time() const override { return real_->event_time(); }
  [[nodiscard]] std::unique_ptr<MapTask> make_map_task() const override {
    return map_ ? map_(real_->make_map_task()) : real_->make_map_task();
  }
  [[nodiscard]] std::unique_ptr<StateTable> make_state_table() const override {
    return table_ ? table_(real_->make_state_table()) : real_->make_state_table();
  }

 private:
  const std::shared_ptr<const Job> real_;
  const TableMaker table_;
  const MapMaker map_;
};

}  // namespace millrace
