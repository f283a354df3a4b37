#include <algorithm>

#include "common/base/check.h"
#include "common/base/text.h"
#include "common/model/state_changes.h"
#include "stream/append_output.h"
#include "stream/graph.h"
#include "stream/guarded.h"
#include "stream/varint.h"
#include "stream/versioned_table.h"

namespace millrace::internal {
namespace {

// The states of one state partition.
class GraphStateTable final : public StateTable {
 public:
  GraphStateTable(std::shared_ptr<const Graph> graph, int32_t state_partitions)
      : graph_(std::move(graph)), states_(graph_->make_states()), pieces_(states_.size()) {
    for (int32_t level = 1; level < graph_->levels(); ++level) {
      levels_.push_back(graph_->make_level(level, state_partitions, states_));
    }
    for (size_t output = 0; output < graph_->outputs().size(); ++output) {
      outputs_.push_back(static_cast<AppendTable*>(states_[graph_->state_of_output(output)].get()));
    }
    for (size_t table = 0; table < graph_->tables().size(); ++table) {
      published_.push_back(states_[graph_->state_of_table(table)].get());
    }
  }

  void count_steps(CallSteps& steps) override {
    for (const auto& state : states_) state->count_steps(steps);
    for (const auto& level : levels_) level->count_steps(steps);
  }

  Status apply(const BatchContext& context, std::span<const std::string_view> sections) override {
    if (!restored_) return restored_;
    CHECK(context.level >= 1 && context.level <= graph_->levels()) << "the job has no level " << context.level;
    for (auto& pieces : pieces_) pieces.clear();
    for (size_t index = 0; index < sections.size(); ++index) {
      if (!split(sections[index], context.level)) {
        return fail(ErrorCode::kCorrupt, "section " + std::to_string(index) + " of batch " +
                                             std::to_string(context.batch.value()) +
                                             " does not parse; the partition must be restored");
      }
    }
    level_ = context.level;
    for (StateId state = 0; state < states_.size(); ++state) {
      if (graph_->level_of_state(state) != context.level) continue;
      Status status =
          guarded([&] { return place_in(state); }, [&] { return states_[state]->apply(context, pieces_[state]); });
      if (!status) return status;
    }
    return context.level < graph_->levels() ? run_level(context) : Status();
  }

  [[nodiscard]] std::vector<ShuffleBlock::Section> take_emitted() override { return std::exchange(emitted_, {}); }

  [[nodiscard]] std::vector<AppendedRecords> take_appended() override {
    std::vector<AppendedRecords> appended;
    for (size_t output = 0; output < outputs_.size(); ++output) {
      AppendedRecords records = outputs_[output]->take(output);
      if (records.records > 0) appended.push_back(std::move(records));
    }
    return appended;
  }

  [[nodiscard]] bool changed() const override {
    for (StateId state = 0; state < states_.size(); ++state) {
      if (graph_->level_of_state(state) == level_ && states_[state]->changed()) return true;
    }
    return false;
  }

  [[nodiscard]] StateTable& published(size_t table) override {
    CHECK_LT(table, published_.size()) << "the job publishes fewer tables";
    return *published_[table];
  }
  [[nodiscard]] std::optional<std::string> read(std::string_view key, BatchId at) const override {
    return published_.front()->read(key, at);
  }
  [[nodiscard]] std::vector<IndexMember> members(std::string_view key, const std::optional<IndexMember>& after,
                                                 size_t n, BatchId at) const override {
    return published_.front()->members(key, after, n, at);
  }
  void forget_undo(BatchId applied) override {
    for (const auto& state : states_) state->forget_undo(applied);
  }

  void freeze(StatePartition self, StateRun& run) override {
    char prefix[kMaxVarintBytes];
    for (StateId state = 0; state < states_.size(); ++state) {
      run.set_prefix({prefix, put_varint(prefix, state)});
      states_[state]->freeze(self, run);
    }
    run.set_prefix({});
    freezing_ = 0;
  }
  bool freeze_more(StatePartition self, StateRun& run, size_t keys) override {
    for (; freezing_ < states_.size(); ++freezing_) {
      char prefix[kMaxVarintBytes];
      run.set_prefix({prefix, put_varint(prefix, freezing_)});
      const bool more = states_[freezing_]->freeze_more(self, run, keys);
      run.set_prefix({});
      if (more) return true;
    }
    return false;
  }
  [[nodiscard]] std::optional<std::string> checkpoint_prefix(size_t table) const override {
    const StateId state = graph_->state_of_table(table);
    std::optional<std::string> of_state = states_[state]->checkpoint_prefix(0);
    if (!of_state) return std::nullopt;
    char prefix[kMaxVarintBytes];
    return std::string(prefix, put_varint(prefix, state)) + *of_state;
  }
  void settle_freeze(bool complete) override {
    for (const auto& state : states_) state->settle_freeze(complete);
  }

  // By name: what the checkpoint has of a state that the job has no more is left out.
  Status restore_from(const std::vector<StatePlan>& stored) override {
    const std::vector<StateChange> changes = changes_of_states(stored, graph_->plan_of(states_));
    if (Status status = check_states(changes); !status) return status;
    numbers_.assign(stored.size(), {});  // There are some: a job without a state publishes nothing.
    for (const StateChange& change : changes) {
      if (!change.was || !change.is) continue;
      Former& former = numbers_[*change.was];
      former.is = change.is;
      if (change.fate != StateFate::kMigrated) continue;
      former.migration = graph_->migration_of(*change.is, change.layout_was);
      CHECK(former.migration != nullptr) << "what the plan reads has a function";
    }
    for (const auto& state : states_) {
      if (Status status = state->restore_from(stored); !status) return status;
    }
    return {};
  }
  Status restore(const StateRun::Entry& entry, bool unpublished) override {
    const char* at = entry.key.data();
    const char* end = at + entry.key.size();
    uint64_t number = 0;
    const bool parsed = get_varint(at, end, number);
    if (!parsed || number >= (numbers_.empty() ? states_.size() : numbers_.size())) {
      return fail(ErrorCode::kCorrupt, "the checkpoint has a key of state " + std::to_string(number) +
                                           ", the job that wrote it has states up to " +
                                           std::to_string((numbers_.empty() ? states_.size() : numbers_.size()) - 1) +
                                           "; was it written by another type of job?");
    }
    const Former former = numbers_.empty() ? Former{number, nullptr} : numbers_[number];
    if (!former.is) return {};
    StateRun::Entry inner = entry;
    inner.key = {at, end};
    std::optional<std::string> migrated;
    if (former.migration != nullptr && !entry.removed) {
      if (Status done = migrate(*former.is, *former.migration, inner, migrated); !done) return done;
      inner.removed = !migrated;
      inner.value = migrated ? std::string_view(*migrated) : std::string_view();
    }
    StateTable* const table = states_[*former.is].get();
    return table->restore(inner, unpublished && std::ranges::find(published_, table) != published_.end());
  }
  void finish_restore(int64_t tick_ms) override {
    restored_ = guarded([] { return "restoring"; },
                        [&]() -> Status {
                          for (const auto& state : states_) state->finish_restore(tick_ms);
                          return {};
                        });
  }

  [[nodiscard]] bool must_publish_all() const override {
    return std::ranges::any_of(published_, [](const StateTable* table) { return table->must_publish_all(); });
  }
  [[nodiscard]] std::vector<SinkEntry> take_unpublished(bool all) override {
    std::vector<SinkEntry> entries = published_.front()->take_unpublished(all);
    for (size_t table = 1; table < published_.size(); ++table) {
      for (SinkEntry& entry : published_[table]->take_unpublished(all)) {
        entry.table = static_cast<uint16_t>(table);
        entries.push_back(std::move(entry));
      }
    }
    return entries;
  }
  void settle_publication(bool done) override {
    for (StateTable* table : published_) table->settle_publication(done);
  }
  [[nodiscard]] std::vector<SinkEntry> top(size_t n) override { return published_.front()->top(n); }
  [[nodiscard]] std::vector<SinkEntry> top_above(size_t n, double at_least) override {
    return published_.front()->top_above(n, at_least);
  }

  [[nodiscard]] int64_t keys() const override {
    int64_t keys = 0;
    for (const auto& state : states_) keys += state->keys();
    return keys;
  }
  [[nodiscard]] int64_t memory_bytes() const override {
    int64_t bytes = 0;
    for (const auto& state : states_) bytes += state->memory_bytes();
    return bytes;
  }

 private:
  // What a state of the checkpoint is now; none: nothing.
  struct Former {
    std::optional<StateId> is;
    const Migration* migration = nullptr;  // of the graph; none: it is the same
  };

  Status migrate(StateId state, const Migration& migration, const StateRun::Entry& entry,
                 std::optional<std::string>& migrated) const {
    Status done = guarded([] { return "migrate_from"; },
                          [&]() -> Status {
                            auto value = migration.migrate(entry.value);
                            if (!value) {
                              return fail(value.error().code, value.error().message + " as " + migration.from +
                                                                  "; nothing is lost: upgrade to code that reads it");
                            }
                            migrated = *std::move(value);
                            return {};
                          });
    if (done) return done;
    return fail(done.error().code, "state '" + graph_->name_of_state(state) + "', key '" +
                                       printable(entry.key.substr(0, 64)) + "': " + done.error().message +
                                       ", or take the former version up by `resume --from`");
  }

  // Where it threw, with the key if the table knows it.
  std::string place_in(StateId state) const {
    const auto* const table = dynamic_cast<const ThrewAt*>(states_[state].get());
    const std::string key = table == nullptr ? "" : printable(std::string_view(table->key_thrown_at).substr(0, 64));
    return graph_->place_of(state) + (key.empty() ? "" : ", key '" + key + "'");
  }

  Status run_level(const BatchContext& context) {
    MapInstance& nodes = *levels_[static_cast<size_t>(context.level - 1)];
    nodes.set_place(static_cast<uint64_t>(context.batch.value()));
    const auto merging = [&] {
      const std::optional<EdgeId> edge = nodes.merging();
      return edge ? graph_->place_of(*edge) + ", merging pairs before they are sent" : std::string("map_values");
    };
    const auto behind = [this](NodeId source) { return graph_->place_behind(source); };
    return guarded(merging, [&]() -> Status {
      if (Status status = nodes.run_level(behind); !status) return status;
      emitted_.clear();
      // Nothing came of most batches of a job at rest: there is nothing to measure for all partitions then.
      if (nodes.take_emitted() != 0) {
        emitted_ = nodes.finish();
      } else {
        nodes.clear();
      }
      return {};
    });
  }

  bool split(std::string_view section, int32_t level) {
    const char* at = section.data();
    const char* end = at + section.size();
    while (at != end) {
      uint64_t edge = 0;
      uint64_t size = 0;
      if (!get_varint(at, end, edge) || edge >= pieces_.size()) return false;
      if (graph_->level_of_state(edge) != level) return false;
      if (!get_varint(at, end, size) || size > static_cast<uint64_t>(end - at)) return false;
      pieces_[edge].emplace_back(at, size);
      at += size;
    }
    return true;
  }

  const std::shared_ptr<const Graph> graph_;
  const std::vector<std::unique_ptr<StateTable>> states_;
  std::vector<StateTable*> published_;  // of states_, by table
  std::vector<AppendTable*> outputs_;   // of states_
  std::vector<std::unique_ptr<MapInstance>>
      levels_;                   // the nodes of level 1 and up, but for the last one, which has none
  std::vector<Former> numbers_;  // by those in the checkpoint; none at all: they are the same
  StateId freezing_ = 0;         // of the open freeze: states up to here have nothing more to add
  Status restored_;              // what came of finish_restore()
  int32_t level_ = 0;            // of the newest apply()
  std::vector<std::vector<std::string_view>> pieces_;  // of what is being applied, by edge
  std::vector<ShuffleBlock::Section> emitted_;         // for the next level
};

}  // namespace

std::unique_ptr<StateTable> GraphJob::make_state_table() const {
  return std::make_unique<GraphStateTable>(graph_, state_partitions_);
}

}  // namespace millrace::internal
