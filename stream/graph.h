// Graph: a job as its definition made it: nodes of the map, edges that shuffle pairs to state partitions, and the
// states behind them. The templates of stream/stream.h put it together; GraphJob is what the engine runs.
//
// An instance of the map's nodes belongs to one map task, an instance of the states to one state partition. Nodes are
// made in the order of definition, so that the origin of each is there before it.
//
// A section of a shuffle block (numbers are unsigned varints; the block's checksum covers it): for each edge that has
// something for the partition, ascending
//
//   edge, size, that many bytes as the edge's writer and reader know them
//
// In checkpoints a key of a state begins with the state's number (varint).
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "stream/job.h"
#include "stream/record.h"
#include "stream/show.h"
#include "stream/window_size.h"

namespace millrace::internal {

using NodeId = size_t;
using EdgeId = size_t;
using StateId = size_t;

// Which records of a chunk are refused, and why.
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

// Takes the log's records as they lie, where a job is one chain that never takes anything back.
class DirectConsumer {
 public:
  virtual ~DirectConsumer() = default;
  virtual void consume(LogPartition partition, OffsetRange range, int64_t max_record_bytes, RecordCursor& records,
                       MapReport& report) = 0;
};

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
  // `direct`: the whole job is one chain that never takes anything back.
  MapInstance(int32_t state_partitions, bool direct) : state_partitions_(state_partitions), direct_(direct) {}

  [[nodiscard]] int32_t state_partitions() const { return state_partitions_; }
  [[nodiscard]] bool direct() const { return direct_; }
  template <typename T>
  Origin<T>& origin(NodeId node) {
    return static_cast<Origin<T>&>(*nodes_[node]);
  }
  [[nodiscard]] MapNode& node(NodeId node) { return *nodes_[node]; }
  void add(std::unique_ptr<MapNode> node) { nodes_.push_back(std::move(node)); }
  void add_edge(EdgeWriter& writer) { edges_.push_back(&writer); }
  void set_direct_consumer(DirectConsumer& consumer) { direct_consumer_ = &consumer; }
  [[nodiscard]] DirectConsumer* direct_consumer() const { return direct_consumer_; }  // none unless direct()
  [[nodiscard]] std::span<const std::unique_ptr<MapNode>> nodes() const { return nodes_; }
  [[nodiscard]] std::span<EdgeWriter* const> edges() const { return edges_; }

 private:
  const int32_t state_partitions_;
  const bool direct_;
  std::vector<std::unique_ptr<MapNode>> nodes_;
  std::vector<EdgeWriter*> edges_;
  DirectConsumer* direct_consumer_ = nullptr;
};

class Graph {
 public:
  static constexpr NodeId kSource = 0;

  explicit Graph(std::chrono::microseconds batch_interval = std::chrono::milliseconds(100))
      : batch_interval_(batch_interval) {}

  // `make` adds exactly one node. `source_chain`: it consumes the source itself; `direct`: as Chain::kDirect says.
  NodeId add_node(std::function<void(MapInstance&)> make, bool source_chain, bool direct);
  // An edge that the node made last writes, into a new state. In checkpoints a state is its number, for now: a change
  // of code that reorders states cannot go on from them.
  StateId add_state(std::string name, std::function<std::unique_ptr<StateTable>(size_t rank_size)> make);

  // Shows a state to the sink and to queries; without `show` its values as they are.
  void publish(StateId state, std::string name, std::shared_ptr<const AnyShow> show = nullptr);
  void rank(StateId state, std::string name, size_t size, bool all, const AnyShow* show = nullptr);
  // Some state changes with batch time, or its keys may go: see Job.
  void need_time() { needs_time_ = true; }
  void remove_keys() { removes_keys_ = true; }
  // Both. Gives the milliseconds; JobError where they are none to live for.
  int64_t expire_keys(std::chrono::milliseconds time_to_live);

  // A window, which goes by time and removes keys; check() looks at its size.
  WindowSize add_window(std::chrono::milliseconds length, std::chrono::milliseconds slide);
  // One batch long.
  WindowSize add_batch_window();

  // Throws JobError where the graph is no job, or none for this context.
  void check(const JobContext& context) const;

  [[nodiscard]] const SinkLayout& layout() const { return layout_; }
  [[nodiscard]] size_t rank_size() const { return rank_size_; }
  [[nodiscard]] bool needs_time() const { return needs_time_; }
  [[nodiscard]] bool removes_keys() const { return removes_keys_; }
  [[nodiscard]] StateId published() const { return *published_; }
  [[nodiscard]] std::unique_ptr<MapInstance> make_map(int32_t state_partitions, std::unique_ptr<MapNode> source) const;
  [[nodiscard]] std::vector<std::unique_ptr<StateTable>> make_states() const;

 private:
  struct State {
    std::string name;
    std::function<std::unique_ptr<StateTable>(size_t rank_size)> make;
  };
  const std::chrono::microseconds batch_interval_;
  std::vector<std::function<void(MapInstance&)>> nodes_;
  std::vector<WindowSize> windows_;
  size_t source_chains_ = 0;
  bool direct_ = true;
  std::vector<State> states_;
  SinkLayout layout_;
  std::optional<StateId> published_;
  std::shared_ptr<const AnyShow> show_;  // of the published one
  size_t rank_size_ = 0;
  bool needs_time_ = false;
  bool removes_keys_ = false;
};

class GraphJob final : public Job {
 public:
  GraphJob(std::shared_ptr<const Graph> graph, const JobContext& context)
      : graph_(std::move(graph)),
        state_partitions_(context.state_partitions),
        max_record_bytes_(context.max_record_bytes) {}

  [[nodiscard]] SinkLayout layout() const override { return graph_->layout(); }
  [[nodiscard]] size_t rank_size() const override { return graph_->rank_size(); }
  [[nodiscard]] bool needs_time() const override { return graph_->needs_time(); }
  [[nodiscard]] bool removes_keys() const override { return graph_->removes_keys(); }
  [[nodiscard]] std::unique_ptr<MapTask> make_map_task() const override;
  [[nodiscard]] std::unique_ptr<StateTable> make_state_table() const override;

 private:
  const std::shared_ptr<const Graph> graph_;
  const int32_t state_partitions_;
  const int64_t max_record_bytes_;
};

}  // namespace millrace::internal
