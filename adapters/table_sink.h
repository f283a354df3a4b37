// TableSink: a Sink that keeps the results for somebody in the same process: a ResultTable, which holds every key's
// value of each published table as of the newest complete round. It may pass everything on to another sink, whose
// answers are then its own.
//
// There is no fence: who publishes and who reads live and end together.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "common/seams/sink.h"
#include "common/seams/task_loop.h"

namespace millrace {

// Owned by the loop of its sinks.
class ResultTable {
 public:
  struct Value {
    std::string text;
    double score = 0;
  };
  using Values = std::unordered_map<std::string, Value>;
  using Entry = Values::value_type;

  // After each round.
  void on_round(std::function<void()> changed) { changed_ = std::move(changed); }

  // Tables are named; "": the first one. Before anything was published there is none.
  [[nodiscard]] bool has_rank(const std::string& table) const;
  // As of the newest complete round: the highest of the rank, and all fields of the job's status.
  [[nodiscard]] const std::vector<SinkEntry>& rank(const std::string& table) const;
  [[nodiscard]] const std::map<std::string, std::string>& status() const { return status_; }
  // Of the status: the next offset of each log partition, by SourceTopics::label(). Empty before the first round.
  [[nodiscard]] std::map<std::string, Offset> offsets() const;
  // Every key, in no order. Valid until the next round ends.
  [[nodiscard]] std::vector<const Entry*> entries(const std::string& table) const;

 private:
  friend class TableSink;
  struct Table {
    TablePlan plan;
    std::map<StatePartition, Values> values;
    std::vector<SinkEntry> rank;
  };
  [[nodiscard]] const Table& find(const std::string& name) const;
  void publish(const SinkIdentity& identity, Publication publication);
  void end_round(RoundEnd end);

  std::function<void()> changed_;
  std::vector<Table> tables_;
  std::vector<Publication> open_;  // of rounds that have not ended, in the order of their arrival
  std::map<std::string, std::string> status_;
};

class TableSink final : public Sink {
 public:
  // `next`: where everything goes besides; or null.
  TableSink(TaskLoop& loop, std::shared_ptr<ResultTable> table, std::unique_ptr<Sink> next)
      : loop_(loop), table_(std::move(table)), next_(std::move(next)) {}

  void claim(SinkIdentity identity, bool take_over, std::move_only_function<void(Status)> done) override;
  void purge(SinkIdentity identity, std::move_only_function<void(Status)> done) override;
  void publish(SinkIdentity identity, Publication publication,
               std::move_only_function<void(Result<PublishOutcome>)> done) override;
  void end_round(SinkIdentity identity, RoundEnd end,
                 std::move_only_function<void(Result<PublishOutcome>)> done) override;

 private:
  struct Alive {};
  template <typename T>
  void answer(T result, std::move_only_function<void(T)> done);

  TaskLoop& loop_;  // outlives this
  const std::shared_ptr<ResultTable> table_;
  const std::unique_ptr<Sink> next_;
  const std::shared_ptr<Alive> alive_ = std::make_shared<Alive>();
};

}  // namespace millrace
