// The nodes that values go through, chunk by chunk, as they were made for one map task, or for one level of one state
// partition (MapInstance). Owned by one lane and used by its thread only.
//
// A section of a shuffle block (numbers are unsigned varints; the block's checksum covers it): for each edge that has
// something for the partition, ascending
//
//   edge, size, that many bytes as the edge's writer and reader know them
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "stream/chain.h"
#include "stream/event_scope.h"
#include "stream/job.h"
#include "stream/record.h"

namespace millrace::internal {

using NodeId = size_t;
using EdgeId = size_t;
using StateId = size_t;

// The most values of a chunk, and their numbers.
inline constexpr size_t kChunk = 256;
inline constexpr std::array<uint32_t, kChunk> kAscending = [] {
  std::array<uint32_t, kChunk> numbers{};
  std::iota(numbers.begin(), numbers.end(), 0);
  return numbers;
}();

// Which records of a chunk are refused, and why. Where a level begins, each of its values is a record.
class Verdicts {
 public:
  void begin(size_t records) {
    refused_.assign(records, 0);
    problems_.clear();
  }
  void refuse(uint32_t record, std::string reason) {
    if (refused_[record] != 0) return;
    refused_[record] = 1;
    problems_.emplace_back(record, std::move(reason));
  }
  [[nodiscard]] bool refused(uint32_t record) const { return refused_[record] != 0; }
  [[nodiscard]] std::vector<std::pair<uint32_t, std::string>>& problems() { return problems_; }

 private:
  std::vector<uint8_t> refused_;
  std::vector<std::pair<uint32_t, std::string>> problems_;
};

class MapNode {
 public:
  virtual ~MapNode() = default;
  // Every origin before this node has given all of the chunk. Called in the order of definition.
  virtual void end_chunk(Verdicts&) {}
  // The chunk is through: what was given by records that are not refused counts, the rest is forgotten.
  virtual void commit(const Verdicts&) {}
  // Forgets all values since the last finish().
  virtual void clear() {}
};

// Takes values, chunk by chunk: one call for many. `records[i]` is the record of the chunk that values[i] comes from.
template <typename T>
class Consumer {
 public:
  virtual ~Consumer() = default;
  virtual void consume(std::span<const T> values, std::span<const uint32_t> records, Verdicts& verdicts) = 0;
};

// What a chain makes of values: take(record, result) for each result, but for records that are refused already. What
// was taken of a record that is refused later has to be forgotten by who took it.
template <typename In, typename Chain, typename Take>
void run_chain(Chain& chain, std::span<const In> values, std::span<const uint32_t> records, Verdicts& verdicts,
               Take take) {
  for (size_t i = 0; i < values.size(); ++i) {
    const uint32_t record = records[i];
    if (verdicts.refused(record)) continue;
    RecordScope scope;
    run_guarded(scope, [&] {
      chain(values[i], scope, [&](auto&& result) __attribute__((always_inline)) {
        take(record, std::forward<decltype(result)>(result));
      });
    });
    if (scope.refused()) verdicts.refuse(record, scope.take_problem());
  }
}

// A node that others consume.
template <typename T>
class Origin : public MapNode {
 public:
  void attach(Consumer<T>& consumer) { consumers_.push_back(&consumer); }

 protected:
  void give(std::span<const T> values, std::span<const uint32_t> records, Verdicts& verdicts) {
    for (Consumer<T>* consumer : consumers_) consumer->consume(values, records, verdicts);
  }

 private:
  std::vector<Consumer<T>*> consumers_;
};

// What a level of a state partition begins with: what the newest batch made of a state.
class LevelSource {
 public:
  virtual ~LevelSource() = default;
  // The state has applied a batch.
  virtual void begin_level() = 0;
  // Gives a chunk of values, each as a record of its own, and begins `verdicts` for it. False: there are none any more.
  virtual bool give_next(Verdicts& verdicts) = 0;
};

// Takes the log's records as they lie, where a job is one chain that never takes anything back.
class DirectConsumer {
 public:
  virtual ~DirectConsumer() = default;
  // `record`: of what topic and partition all of them are.
  virtual void consume(Record record, OffsetRange range, int64_t max_record_bytes, RecordCursor& records,
                       MapReport& report) = 0;
};

// What a user's function throws where no record can be refused for it.
std::unexpected<Error> threw(const std::string& where, const std::string& what);
// Why a record is refused that is longer than the job takes.
std::string too_long(int64_t max_record_bytes);

// The pairs of one edge, combined or not, until finish().
class EdgeWriter {
 public:
  virtual ~EdgeWriter() = default;
  // Sets bytes[p] to the size of the piece for state partition p, 0: none.
  virtual void measure(std::span<uint64_t> bytes) = 0;
  // Writes the piece for each p with bytes at at[p], and moves at[p] behind it.
  virtual void write(std::span<char*> at) = 0;
  // Pairs since the last call.
  virtual int64_t take_emitted() = 0;
};

class MapInstance {
 public:
  // `direct`: the whole job is one chain that never takes anything back. `states`: of the state partition, which
  // outlive this; none in a map task.
  MapInstance(int32_t state_partitions, bool direct, std::span<const std::unique_ptr<StateTable>> states = {})
      : state_partitions_(state_partitions), direct_(direct), states_(states) {}

  // What is added from here on, one node, has this number; if it writes an edge, the edge has that one.
  void begin_node(NodeId node, EdgeId edge) {
    node_ = node;
    edge_ = edge;
  }

  [[nodiscard]] int32_t state_partitions() const { return state_partitions_; }
  [[nodiscard]] bool direct() const { return direct_; }
  template <typename T>
  Origin<T>& origin(NodeId node) {
    return static_cast<Origin<T>&>(*by_number_[node]);
  }
  [[nodiscard]] MapNode& node(NodeId node) { return *by_number_[node]; }
  [[nodiscard]] StateTable& state(StateId state) { return *states_[state]; }
  void add(std::unique_ptr<MapNode> node);
  // Adds one of this type. By this, since a std::unique_ptr of each type of node would be a tenth of what the compiler
  // does for a job.
  template <typename Node, typename... Arguments>
  Node& make(Arguments&&... arguments) {
    Node* const node = new Node(std::forward<Arguments>(arguments)...);
    add(std::unique_ptr<MapNode>(node));
    return *node;
  }
  void add_edge(EdgeWriter& writer) { edges_.push_back({edge_, nodes_.size() - 1, &writer}); }
  void add_level_source(LevelSource& source) { level_sources_.push_back({node_, &source}); }
  void set_direct_consumer(DirectConsumer& consumer) { direct_consumer_ = &consumer; }
  [[nodiscard]] DirectConsumer* direct_consumer() const { return direct_consumer_; }  // none unless direct()
  [[nodiscard]] size_t size() const { return nodes_.size(); }
  // Of a map task.
  [[nodiscard]] EventScope& event_scope() { return event_scope_; }
  void count_steps(CallSteps& steps) { steps_ = &steps; }
  void step() {
    if (steps_ != nullptr) steps_->step();
  }

  // Tells what is mapped from other ranges or batches, for what has to begin somewhere; the same whenever it is mapped
  // again.
  void set_place(uint64_t place) { place_ = place; }
  [[nodiscard]] uint64_t place() const { return place_; }

  // The origins have given a chunk: it goes through all nodes.
  void end_chunk(Verdicts& verdicts);
  // Everything that the newest batch made of the level's states, through all nodes. kInvalid: a function throws behind
  // what the node begins that `name_of` is called for.
  Status run_level(const std::function<std::string(NodeId)>& name_of);
  // Where an exception came from: the edge whose pairs were merged; none: it was something else.
  [[nodiscard]] std::optional<EdgeId> merging() const;
  // Pairs since the last call.
  int64_t take_emitted();
  // All pairs since the last one, as sections ascending by state partition, which are forgotten with that.
  std::vector<ShuffleBlock::Section> finish();
  void clear();

 private:
  struct Edge {
    EdgeId number;
    size_t node;  // in nodes_
    EdgeWriter* writer;
  };
  struct Begin {
    NodeId node;
    LevelSource* source;
  };

  const int32_t state_partitions_;
  const bool direct_;
  const std::span<const std::unique_ptr<StateTable>> states_;
  NodeId node_ = 0;
  EdgeId edge_ = 0;
  std::vector<std::unique_ptr<MapNode>> nodes_;  // in the order of definition
  std::vector<MapNode*> by_number_;              // none: of another level
  std::vector<Edge> edges_;                      // ascending
  std::vector<Begin> level_sources_;
  DirectConsumer* direct_consumer_ = nullptr;
  EventScope event_scope_;
  uint64_t place_ = 0;
  CallSteps* steps_ = nullptr;    // none: nobody looks
  Verdicts verdicts_;             // of run_level()
  size_t committing_ = SIZE_MAX;  // in nodes_
};

}  // namespace millrace::internal
