// The oracle can fail: each of these bugs, planted between real roles and the fakes they run on, is caught within a few
// seeds of a scenario that a right engine passes.

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <tuple>
#include <utility>

#include "common/base/check.h"
#include "tests/sim/chain_job.h"
#include "tests/sim/expect_caught.h"
#include "tests/sim/passing.h"

namespace millrace {
namespace {

// The record at an offset that ends in 7 is not counted, by anybody.
class SkippingMap : public PassingMap {
 public:
  using PassingMap::PassingMap;
  Status map(LogPartition partition, OffsetRange range, std::string_view bytes, MapReport& report) override {
    for (Offset offset = range.from; offset < range.to; offset = offset.next()) {
      if (offset.value() % 10 != 7) continue;
      if (Status before = real_->map(partition, {range.from, offset}, bytes, report); !before) return before;
      ++report.records;
      return map(partition, {offset.next(), range.to}, bytes, report);
    }
    return real_->map(partition, range, bytes, report);
  }
};

TEST(PlantedBug, an_offset_that_is_skipped_is_caught) {
  expect_caught("nothing_happens", [] {
    return std::make_shared<JobPlant>(
        nullptr, [](std::unique_ptr<MapTask> real) { return std::make_unique<SkippingMap>(std::move(real)); });
  });
}

class TwiceTable : public PassingTable {
 public:
  using PassingTable::PassingTable;
  Status apply(const BatchContext& context, std::span<const std::string_view> sections) override {
    std::vector<std::string_view> more(sections.begin(), sections.end());
    if (context.batch.value() % 16 == 5 && !more.empty()) more.push_back(more.front());
    return real_->apply(context, more);
  }
};

TEST(PlantedBug, a_block_that_is_applied_twice_is_caught) {
  expect_caught("nothing_happens", plant_table<TwiceTable>);
}

TEST(PlantedBug, an_unfenced_write_is_caught) {
  struct Unfenced : Plant {
    void cluster(SimCluster& cluster) override { cluster.sink().fenced = false; }
  };
  expect_caught("processes_are_frozen", [] { return std::make_shared<Unfenced>(); });
}

class PassingSink : public Sink {
 public:
  explicit PassingSink(std::unique_ptr<Sink> real) : real_(std::move(real)) {}
  void claim(SinkIdentity identity, bool take_over, std::move_only_function<void(Status)> done) override {
    real_->claim(std::move(identity), take_over, std::move(done));
  }
  void purge(SinkIdentity identity, std::move_only_function<void(Status)> done) override {
    real_->purge(std::move(identity), std::move(done));
  }
  void publish(SinkIdentity identity, Publication publication,
               std::move_only_function<void(Result<PublishOutcome>)> done) override {
    real_->publish(std::move(identity), std::move(publication), std::move(done));
  }
  void end_round(SinkIdentity identity, RoundEnd end,
                 std::move_only_function<void(Result<PublishOutcome>)> done) override {
    real_->end_round(std::move(identity), std::move(end), std::move(done));
  }

 protected:
  const std::unique_ptr<Sink> real_;
};

// Loses what lies between the first and the third chunk.
class ChunkLosingSink : public PassingSink {
 public:
  using PassingSink::PassingSink;
  void publish(SinkIdentity identity, Publication publication,
               std::move_only_function<void(Result<PublishOutcome>)> done) override {
    auto& entries = publication.entries;
    if (entries.size() > 4) {
      entries.erase(entries.begin() + 4, entries.begin() + static_cast<long>(std::min<size_t>(8, entries.size())));
    }
    real_->publish(std::move(identity), std::move(publication), std::move(done));
  }
};

TEST(PlantedBug, the_loss_of_a_publications_second_chunk_is_caught) {
  struct Losing : Plant {
    std::unique_ptr<Sink> sink(std::unique_ptr<Sink> real) override {
      return std::make_unique<ChunkLosingSink>(std::move(real));
    }
  };
  expect_caught("workers_die_on_a_good_network", [] { return std::make_shared<Losing>(); });
}

TEST(PlantedBug, a_page_without_the_newest_file_of_its_snapshot_is_caught) {
  struct Older : Plant {
    bool message(wire::Envelope& envelope) override {
      if (!envelope.body.__isset.read_view || envelope.body.read_view.files.size() < 2) return false;
      envelope.body.read_view.files.pop_back();
      return true;
    }
  };
  expect_caught("nothing_happens", [] { return std::make_shared<Older>(); });
}

TEST(PlantedBug, a_batch_that_is_reduced_before_its_record_is_durable_is_caught) {
  struct Early : Plant {
    bool message(wire::Envelope& envelope) override {
      if (!envelope.body.__isset.progress) return false;
      envelope.body.progress.durable += 1000;
      return true;
    }
  };
  expect_caught(
      "the_master_dies", [] { return std::make_shared<Early>(); },
      [](SimCluster& cluster, SimRandom& fate) {
        if (fate.chance(0.2)) cluster.metadata_disk().failure = Error{ErrorCode::kIo, "the disk is full"};
        if (fate.chance(0.4)) cluster.metadata_disk().failure.reset();
      });
}

class ForgettingTable : public PassingTable {
 public:
  using PassingTable::PassingTable;
  void settle_freeze(bool) override { real_->settle_freeze(true); }
};

TEST(PlantedBug, changed_keys_that_a_failed_checkpoint_forgets_are_caught) {
  expect_caught("disks_fail", plant_table<ForgettingTable>);
}

// Takes what a complete checkpoint holds for published.
class OvertakingTable : public PassingTable {
 public:
  using PassingTable::PassingTable;
  void settle_freeze(bool complete) override {
    real_->settle_freeze(complete);
    if (!complete || open_) return;
    (void)real_->take_unpublished(false);
    real_->settle_publication(true);
  }
  [[nodiscard]] std::vector<SinkEntry> take_unpublished(bool all) override {
    open_ = true;
    return real_->take_unpublished(all);
  }
  void settle_publication(bool done) override {
    open_ = false;
    real_->settle_publication(done);
  }

 private:
  bool open_ = false;
};

TEST(PlantedBug, a_publication_that_is_overtaken_by_a_checkpoint_is_caught) {
  expect_caught("the_sink_is_away_or_loses_its_data", plant_table<OvertakingTable>);
}

class TrustingTable : public PassingTable {
 public:
  using PassingTable::PassingTable;
  Status restore(const StateRun::Entry& entry, bool) override { return real_->restore(entry, false); }
};

TEST(PlantedBug, restored_keys_that_are_taken_for_published_are_caught) {
  expect_caught("everything_dies", plant_table<TrustingTable>);
}

// A range that is mapped a second time, by whomever, gives its pairs twice.
class RemappingMap : public PassingMap {
 public:
  using Ranges = std::set<std::pair<LogPartition, Offset>>;  // where ranges began that are mapped
  RemappingMap(std::unique_ptr<MapTask> real, std::shared_ptr<Ranges> mapped)
      : PassingMap(std::move(real)), mapped_(std::move(mapped)) {}
  Status map(LogPartition partition, OffsetRange range, std::string_view bytes, MapReport& report) override {
    if (!mapped_->emplace(partition, range.from).second) {
      MapReport unseen;
      if (Status again = real_->map(partition, range, bytes, unseen); !again) return again;
    }
    return real_->map(partition, range, bytes, report);
  }

 private:
  const std::shared_ptr<Ranges> mapped_;
};

TEST(PlantedBug, a_remapped_block_that_is_taken_for_a_new_one_is_caught) {
  expect_caught("kept_blocks_are_dropped_at_once", [] {
    auto mapped = std::make_shared<RemappingMap::Ranges>();
    return std::make_shared<JobPlant>(nullptr, [mapped](std::unique_ptr<MapTask> real) {
      return std::make_unique<RemappingMap>(std::move(real), mapped);
    });
  });
}

// A restarted executor says to the next master that it holds what its former life held.
class Impostor : public Plant {
 public:
  bool message(wire::Envelope& envelope) override {
    const wire::Body& body = envelope.body;
    auto& held = held_[envelope.header.sender];
    if (body.__isset.applied) {
      for (const wire::OwnedPartition& owned : body.applied.partitions) held[owned.partition] = owned;
    }
    if (!body.__isset.register_executor || !body.register_executor.owned.empty() || held.empty()) return false;
    for (const auto& [partition, owned] : held) envelope.body.register_executor.owned.push_back(owned);
    return true;
  }

 private:
  std::map<int64_t, std::map<int32_t, wire::OwnedPartition>> held_;  // by process
};

TEST(PlantedBug, a_restarted_executor_that_is_taken_for_the_old_one_is_caught) {
  expect_caught(
      "the_master_dies", [] { return std::make_shared<Impostor>(); },
      [](SimCluster& cluster, SimRandom& fate) {
        if (!cluster.has_master() && fate.chance(0.5)) cluster.restart_executor_unnoticed(fate.next());
      });
}

// A sink that takes nothing from anybody: owners are changed without end.
class FencingSink : public PassingSink {
 public:
  using PassingSink::PassingSink;
  void publish(SinkIdentity, Publication publication,
               std::move_only_function<void(Result<PublishOutcome>)> done) override {
    publication.full = true;
    SinkIdentity other{.job_name = "other",
                       .job = JobId(1),
                       .incarnation = Incarnation(1),
                       .layout = {{.name = "counts", .rank = {}}}};
    real_->publish(std::move(other), std::move(publication),
                   [done = std::move(done)](const Result<PublishOutcome>&) mutable { done(PublishOutcome::kFenced); });
  }
};

TEST(PlantedBug, a_sink_that_fences_everybody_is_survived) {
  struct Fencing : Plant {
    std::unique_ptr<Sink> sink(std::unique_ptr<Sink> real) override {
      return std::make_unique<FencingSink>(std::move(real));
    }
  };
  FLAGS_minloglevel = 3;
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    SimCluster cluster(seed, {.faults = SimFaults::none(), .plant = std::make_shared<Fencing>()});
    cluster.start();
    cluster.submit("job", "word_count");
    for (int step = 0; step < 50; ++step) {
      cluster.append_lines(4);
      cluster.world().run_for(std::chrono::milliseconds(20));
    }
    const uint64_t assignments = cluster.counts().assignments;
    cluster.world().run_for(std::chrono::seconds(2));
    EXPECT_GT(cluster.counts().assignments, assignments) << cluster.state();
    EXPECT_EQ(cluster.oracle().breach(), "");
  }
}

// Keeps from the sink that keys are gone.
class KeepingTable : public PassingTable {
 public:
  using PassingTable::PassingTable;
  [[nodiscard]] std::vector<SinkEntry> take_unpublished(bool all) override {
    auto entries = real_->take_unpublished(all);
    std::erase_if(entries, [](const SinkEntry& entry) { return entry.removed; });
    return entries;
  }
};

TEST(PlantedBug, a_removal_that_is_not_published_is_caught) {
  expect_caught("words_are_forgotten_with_nothing_happening", plant_table<KeepingTable>);
}

// A new owner then publishes what its checkpoint has changed since the last publication, and a key that went in between
// is in no base.
TEST(PlantedBug, a_job_that_hides_that_it_removes_keys_is_caught) {
  struct HidingJob : PassingJob {
    explicit HidingJob(std::shared_ptr<const Job> real) : PassingJob(std::move(real), nullptr) {}
    [[nodiscard]] bool removes_keys() const override { return false; }
  };
  struct Hiding : Plant {
    std::shared_ptr<const Job> job(std::shared_ptr<const Job> real) override {
      return std::make_shared<HidingJob>(std::move(real));
    }
  };
  expect_caught("words_cool_down", [] { return std::make_shared<Hiding>(); });
}

TEST(PlantedBug, a_replay_without_the_ticks_is_caught) {
  struct Timeless : Plant {
    bool message(wire::Envelope& envelope) override {
      if (!envelope.body.__isset.run_batch || !envelope.body.run_batch.replay) return false;
      return std::exchange(envelope.body.run_batch.tick, false);
    }
  };
  expect_caught("words_cool_down", [] { return std::make_shared<Timeless>(); });
}

TEST(PlantedBug, a_change_by_time_alone_that_nobody_is_told_is_caught) {
  struct Untold : Plant {
    bool message(wire::Envelope& envelope) override {
      if (!envelope.body.__isset.applied) return false;
      return std::exchange(envelope.body.applied.changed, 0) != 0;
    }
  };
  expect_caught("words_are_forgotten_with_nothing_happening", [] { return std::make_shared<Untold>(); });
}

class BackwardTable : public PassingTable {
 public:
  using PassingTable::PassingTable;
  Status apply(const BatchContext& context, std::span<const std::string_view> sections) override {
    return real_->apply(context, std::vector<std::string_view>(sections.rbegin(), sections.rend()));
  }
};

TEST(PlantedBug, blocks_that_are_merged_in_another_order_are_caught) {
  expect_caught("nothing_happens", plant_table<BackwardTable>, nullptr, kChainJob);
}

class StaleReadTable : public PassingTable {
 public:
  using PassingTable::PassingTable;
  [[nodiscard]] std::optional<std::string> read(std::string_view key, BatchId at) const override {
    return real_->read(key, at < newest_ ? newest_ : at);
  }
  Status apply(const BatchContext& context, std::span<const std::string_view> sections) override {
    newest_ = context.batch;
    return real_->apply(context, sections);
  }

 private:
  BatchId newest_;
};

TEST(PlantedBug, an_answer_of_another_batch_than_it_states_is_caught) {
  expect_caught("the_network_misbehaves", plant_table<StaleReadTable>);
}

TEST(PlantedBug, an_answer_that_goes_back_is_caught) {
  struct Stale : Plant {
    bool message(wire::Envelope& envelope) override {
      if (!envelope.body.__isset.query_reply || envelope.body.query_reply.batch < 8 || ++asked % 4 != 0) return false;
      if (envelope.body.query_reply.entries.empty()) return false;
      envelope.body.query_reply.batch -= 7;
      return true;
    }
    int asked = 0;
  };
  expect_caught("nothing_happens", [] { return std::make_shared<Stale>(); });
}

// --- levels --------------------------------------------------------------------------------------------------------

// Spoils what comes out of a level now and then.
template <typename Spoil>
class SpoiltEmission : public PassingTable {
 public:
  using PassingTable::PassingTable;
  Status apply(const BatchContext& context, std::span<const std::string_view> sections) override {
    batch_ = context.batch;
    return real_->apply(context, sections);
  }
  [[nodiscard]] std::vector<ShuffleBlock::Section> take_emitted() override {
    auto sections = real_->take_emitted();
    if (batch_.value() % 16 == 5) {
      for (ShuffleBlock::Section& section : sections) {
        section.bytes = SharedBuffer::of(Spoil()(std::string(section.bytes.view())));
      }
    }
    return sections;
  }

 private:
  BatchId batch_;
};

struct Nothing {
  std::string operator()(const std::string&) const { return ""; }
};
struct Twice {
  std::string operator()(const std::string& text) const { return text + text; }
};
struct OtherOrder {
  std::string operator()(const std::string& text) const {
    std::string reversed;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) reversed.insert(0, line + "\n");
    return reversed;
  }
};

TEST(PlantedBug, emissions_that_are_lost_or_doubled_or_in_another_order_are_caught) {
  const char* scenario = "levels_with_nothing_happening";
  expect_caught(scenario, plant_table<SpoiltEmission<Nothing>>);
  expect_caught(scenario, plant_table<SpoiltEmission<Twice>>);
  expect_caught(scenario, plant_table<SpoiltEmission<OtherOrder>>);
}

TEST(PlantedBug, a_level_block_that_does_not_arrive_is_caught) {
  struct Losing : Plant {
    bool message(wire::Envelope& envelope) override {
      const bool some = envelope.body.__isset.shuffle && envelope.body.shuffle.__isset.levels;
      if (!some || envelope.header.batch % 16 != 5) return false;
      envelope.body.shuffle.levels.pop_back();
      return true;
    }
  };
  expect_caught("levels_with_nothing_happening", [] { return std::make_shared<Losing>(); });
}

TEST(PlantedBug, a_changed_key_that_followers_are_not_told_is_caught) {
  struct Silent : Plant {
    bool message(wire::Envelope& envelope) override {
      if (!envelope.body.__isset.round_changes || envelope.header.batch % 16 != 5) return false;
      for (wire::ChangedPartition& part : envelope.body.round_changes.partitions) part.keys.clear();
      return true;
    }
  };
  expect_caught("nothing_happens", [] { return std::make_shared<Silent>(); });
}

// As an executor would that took a round that was given up for one that is complete.
TEST(PlantedBug, changes_that_begin_too_late_are_caught) {
  struct Late : Plant {
    bool message(wire::Envelope& envelope) override {
      if (!envelope.body.__isset.round_changes) return false;
      for (wire::ChangedPartition& part : envelope.body.round_changes.partitions) part.since = 0;
      return true;
    }
  };
  expect_caught("everything_dies", [] { return std::make_shared<Late>(); });
}

// The first partition keeps the generation that it had, where its owner keeps it.
TEST(PlantedBug, a_partition_that_does_not_begin_anew_with_the_others_is_caught) {
  struct Keeping : Plant {
    bool message(wire::Envelope& envelope) override {
      if (!envelope.body.__isset.assign || envelope.body.assign.states.empty()) return false;
      wire::StateOwner& first = envelope.body.assign.states.front();
      if (first.process == known.process && first.generation > known.generation) {
        first.generation = known.generation;
        return true;
      }
      known = first;
      return false;
    }
    wire::StateOwner known;
  };
  expect_caught("levels_where_everything_dies", [] { return std::make_shared<Keeping>(); });
}

}  // namespace
}  // namespace millrace
