#include "tests/sim/level_job.h"

#include <map>
#include <optional>
#include <set>
#include <sstream>
#include <utility>
#include <vector>

#include "common/model/record_batch.h"

namespace millrace {
namespace {

// Sections by state partition: lines of a key and what is said of it, ascending by key.
class LevelSections {
 public:
  explicit LevelSections(int32_t partitions) : partitions_(partitions) {}

  void add(const std::string& key, const std::string& what) {
    sections_[state_partition_of(key, partitions_)] += key + " " + what + "\n";
  }
  std::vector<ShuffleBlock::Section> take() {
    std::vector<ShuffleBlock::Section> taken;
    for (auto& [partition, text] : sections_) taken.push_back({partition, SharedBuffer::of(std::move(text))});
    sections_.clear();
    return taken;
  }

 private:
  const int32_t partitions_;
  std::map<StatePartition, std::string> sections_;
};

class LevelMap final : public MapTask {
 public:
  explicit LevelMap(int32_t partitions) : sections_(partitions) {}

  Status map(LogPartition, OffsetRange range, std::string_view bytes, MapReport& report) override {
    RecordBatchCursor batches(bytes);
    for (RecordBatchView batch; batches.next(batch);) {
      if (batch.is_control()) continue;
      RecordCursor records(batch);
      for (RecordView record; records.next(record);) {
        if (range.contains(record.offset)) count(record, report);
      }
      if (Status status = records.status(); !status) return status;
    }
    return batches.status();
  }

  std::vector<ShuffleBlock::Section> finish() override {
    for (const auto& [word, count] : counts_) sections_.add(word, std::to_string(count));
    counts_.clear();
    return sections_.take();
  }

 private:
  void count(const RecordView& record, MapReport& report) {
    ++report.records;
    if (record.value.find('\xff') != std::string_view::npos) {
      report.add_dead_letter(record.offset, record.timestamp_ms, "not valid UTF-8");
      return;
    }
    std::istringstream words{std::string(record.value)};
    for (std::string word; words >> word; ++report.emitted) ++counts_[word];
  }

  LevelSections sections_;
  std::map<std::string, int64_t> counts_;
};

class LevelTable final : public StateTable {
 public:
  explicit LevelTable(int32_t partitions) : emitted_(partitions) {}

  Status apply(const BatchContext& context, std::span<const std::string_view> sections) override {
    changed_ = false;
    std::map<std::string, int64_t> before;  // of words
    std::set<std::string> touched;
    for (const std::string_view section : sections) {
      std::istringstream lines{std::string(section)};
      std::string key;
      for (std::string what; lines >> key >> what;) {
        LevelValue& value = change(key, context.batch);
        touched.insert(key);
        if (context.level == 1) {
          before.try_emplace(key, value.count);
          value.count += std::stoll(what);
        } else {
          level_step(value, what.substr(1), what[0] == '+');
        }
      }
    }
    for (const auto& [word, count] : before) {
      if (count > 0) emitted_.add(level_key(count), "-" + word);
      emitted_.add(level_key(now_[word].count), "+" + word);
    }
    for (const std::string& key : touched) {
      if (now_[key].count == 0) now_.erase(key);
    }
    return {};
  }
  [[nodiscard]] std::vector<ShuffleBlock::Section> take_emitted() override { return emitted_.take(); }
  [[nodiscard]] bool changed() const override { return changed_; }

  [[nodiscard]] std::optional<std::string> read(std::string_view key, BatchId at) const override {
    const std::string name(key);
    for (auto batch = before_.upper_bound(at); batch != before_.end(); ++batch) {
      const auto old = batch->second.find(name);
      if (old != batch->second.end()) return old->second ? std::optional(old->second->text()) : std::nullopt;
    }
    const auto found = now_.find(name);
    return found == now_.end() ? std::nullopt : std::optional(found->second.text());
  }
  void forget_undo(BatchId applied) override { before_.erase(before_.begin(), before_.upper_bound(applied)); }

  [[nodiscard]] std::optional<std::string> checkpoint_prefix(size_t /*table*/) const override { return ""; }
  void freeze(StatePartition self, StateRun& run) override {
    frozen_ = std::exchange(unfrozen_, {});
    for (const std::string& key : frozen_) {
      const auto found = now_.find(key);
      const bool gone = found == now_.end();
      run.add(self, key, gone ? "" : std::to_string(found->second.count) + " " + std::to_string(found->second.digest),
              gone);
    }
  }
  void settle_freeze(bool complete) override {
    if (!complete) unfrozen_.merge(frozen_);
    frozen_.clear();
  }
  Status restore(const StateRun::Entry& entry, bool unpublished) override {
    const std::string key(entry.key);
    if (unpublished) unpublished_.insert(key);
    if (entry.removed) {
      now_.erase(key);
      return {};
    }
    std::istringstream value{std::string(entry.value)};
    LevelValue& into = now_[key];
    if (value >> into.count >> into.digest) return {};
    return fail(ErrorCode::kCorrupt, "no value of a level: " + std::string(entry.value));
  }

  [[nodiscard]] std::vector<SinkEntry> take_unpublished(bool all) override {
    publishing_ = std::exchange(unpublished_, {});
    std::vector<SinkEntry> entries;
    const auto add = [&](const std::string& key) {
      const auto found = now_.find(key);
      const bool gone = found == now_.end();
      entries.push_back({.key = key, .text = gone ? "" : found->second.text(), .removed = gone});
    };
    if (all) {
      for (const auto& [key, value] : now_) add(key);
    } else {
      for (const std::string& key : publishing_) add(key);
    }
    return entries;
  }
  void settle_publication(bool done) override {
    if (!done) unpublished_.merge(publishing_);
    publishing_.clear();
  }
  [[nodiscard]] std::vector<SinkEntry> top(size_t) override { return {}; }
  [[nodiscard]] std::vector<SinkEntry> top_above(size_t, double) override { return {}; }
  [[nodiscard]] int64_t keys() const override { return static_cast<int64_t>(now_.size()); }
  [[nodiscard]] int64_t memory_bytes() const override { return keys() * 100; }

 private:
  LevelValue& change(const std::string& key, BatchId batch) {
    const auto found = now_.find(key);
    before_[batch].try_emplace(key, found == now_.end() ? std::nullopt : std::optional(found->second));
    unpublished_.insert(key);
    unfrozen_.insert(key);
    changed_ = true;
    return now_[key];
  }

  std::map<std::string, LevelValue> now_;
  std::map<BatchId, std::map<std::string, std::optional<LevelValue>>> before_;  // of what a batch has changed
  std::set<std::string> unpublished_, publishing_, unfrozen_, frozen_;
  LevelSections emitted_;
  bool changed_ = false;
};

class LevelJob final : public Job {
 public:
  explicit LevelJob(int32_t partitions) : partitions_(partitions) {}
  [[nodiscard]] std::vector<TablePlan> tables() const override { return {{.name = "counts", .rank = {}}}; }
  [[nodiscard]] bool needs_time() const override { return false; }
  [[nodiscard]] bool removes_keys() const override { return true; }
  [[nodiscard]] int32_t levels() const override { return 2; }
  [[nodiscard]] std::unique_ptr<MapTask> make_map_task() const override {
    return std::make_unique<LevelMap>(partitions_);
  }
  [[nodiscard]] std::unique_ptr<StateTable> make_state_table() const override {
    return std::make_unique<LevelTable>(partitions_);
  }

 private:
  const int32_t partitions_;
};

}  // namespace

std::shared_ptr<const Job> make_level_job(int32_t state_partitions) {
  return std::make_shared<const LevelJob>(state_partitions);
}

}  // namespace millrace
