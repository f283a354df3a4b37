#include "stream/graph.h"

#include <algorithm>
#include <array>
#include <exception>
#include <new>
#include <numeric>

#include "common/base/check.h"
#include "stream/job_error.h"
#include "stream/varint.h"

namespace millrace::internal {
namespace {

constexpr size_t kChunk = 256;

constexpr std::array<uint32_t, kChunk> kAscending = [] {
  std::array<uint32_t, kChunk> numbers{};
  std::iota(numbers.begin(), numbers.end(), 0);
  return numbers;
}();

// What a user's function throws where no record can be refused for it.
std::unexpected<Error> threw(const std::string& where, const std::string& what) {
  return fail(ErrorCode::kInvalid, "the job's code threw an exception (" + where + "): " + what);
}
constexpr char kNoException[] = "something that is no std::exception";

// The log's records, in chunks.
class RecordSource final : public Origin<Record> {
 public:
  void give_records(std::span<const Record> records, Verdicts& verdicts) {
    give(records, std::span(kAscending).first(records.size()), verdicts);
  }
};

class GraphMapTask final : public MapTask {
 public:
  GraphMapTask(std::shared_ptr<const Graph> graph, int32_t state_partitions, int64_t max_record_bytes)
      : graph_(std::move(graph)), max_record_bytes_(max_record_bytes) {
    auto source = std::make_unique<RecordSource>();
    source_ = source.get();
    nodes_ = graph_->make_map(state_partitions, std::move(source));
    chunk_.reserve(kChunk);
  }

  // After kCorrupt all pairs since the last finish() are forgotten.
  Status map(LogPartition partition, OffsetRange range, std::string_view bytes, MapReport& report) override {
    Status status;
    try {
      status = map_batches(partition, range, bytes, report);
    } catch (const std::bad_alloc&) {
      throw;
    } catch (const std::exception& problem) {
      status = threw("map", problem.what());
    }
    if (!status) clear();
    for (EdgeWriter* edge : nodes_->edges()) report.emitted += edge->take_emitted();
    return status;
  }

  std::vector<ShuffleBlock::Section> finish() override {
    std::vector<ShuffleBlock::Section> sections = write_sections();
    clear();
    return sections;
  }

 private:
  Status map_batches(LogPartition partition, OffsetRange range, std::string_view bytes, MapReport& report) {
    RecordBatchCursor batches(bytes);
    for (RecordBatchView batch; batches.next(batch);) {
      if (batch.is_control() || batch.last_offset() < range.from || batch.base_offset() >= range.to) continue;
      RecordCursor records(batch);
      if (nodes_->direct_consumer() != nullptr) {
        nodes_->direct_consumer()->consume(partition, range, max_record_bytes_, records, report);
        if (Status status = records.status(); !status) return status;
        continue;
      }
      Record record;
      record.partition = partition;
      while (records.next(record)) {
        if (!range.contains(record.offset)) continue;
        chunk_.push_back(record);
        if (chunk_.size() == kChunk) run_chunk(report);
      }
      run_chunk(report);
      if (Status status = records.status(); !status) return status;
    }
    return batches.status();
  }

  void run_chunk(MapReport& report) {
    if (chunk_.empty()) return;
    verdicts_.begin(chunk_.size());
    for (uint32_t i = 0; i < chunk_.size(); ++i) {
      if (static_cast<int64_t>(chunk_[i].value.size()) > max_record_bytes_) [[unlikely]] {
        verdicts_.refuse(i, too_long(max_record_bytes_));
      }
    }
    source_->give_records(chunk_, verdicts_);
    for (const auto& node : nodes_->nodes()) node->end_chunk(verdicts_);
    for (const auto& node : nodes_->nodes()) node->commit(verdicts_);
    report.records += static_cast<int64_t>(chunk_.size());
    std::ranges::sort(verdicts_.problems());
    for (auto& [record, problem] : verdicts_.problems()) {
      report.add_dead_letter(chunk_[record].offset, chunk_[record].timestamp_ms, std::move(problem));
    }
    chunk_.clear();
  }

  void clear() {
    chunk_.clear();
    for (const auto& node : nodes_->nodes()) node->clear();
  }

  std::vector<ShuffleBlock::Section> write_sections() {
    const auto partitions = static_cast<size_t>(nodes_->state_partitions());
    const auto edges = nodes_->edges();
    std::vector<std::vector<uint64_t>> pieces(edges.size(), std::vector<uint64_t>(partitions));
    std::vector<uint64_t> sizes(partitions);
    for (EdgeId edge = 0; edge < edges.size(); ++edge) {
      edges[edge]->measure(pieces[edge]);
      for (size_t p = 0; p < partitions; ++p) {
        const uint64_t bytes = pieces[edge][p];
        if (bytes != 0) sizes[p] += varint_size(edge) + varint_size(bytes) + bytes;
      }
    }

    auto buffer = std::make_shared<std::string>();
    buffer->resize(std::accumulate(sizes.begin(), sizes.end(), size_t{0}));
    std::vector<ShuffleBlock::Section> sections;
    std::vector<char*> ends(partitions);
    char* at = buffer->data();
    for (size_t p = 0; p < partitions; ++p) {
      if (sizes[p] == 0) continue;
      sections.push_back(
          {StatePartition(static_cast<int32_t>(p)), SharedBuffer(buffer, std::string_view(at, sizes[p]))});
      ends[p] = at;
      at += sizes[p];
    }
    std::vector<char*> places(partitions);
    for (EdgeId edge = 0; edge < edges.size(); ++edge) {
      for (size_t p = 0; p < partitions; ++p) {
        const uint64_t bytes = pieces[edge][p];
        if (bytes == 0) continue;
        places[p] = put_varint(put_varint(ends[p], edge), bytes);
        ends[p] = places[p] + bytes;
      }
      edges[edge]->write(places);
      for (size_t p = 0; p < partitions; ++p) {
        CHECK(pieces[edge][p] == 0 || places[p] == ends[p]) << "a value's Codec wrote other than size() bytes";
      }
    }
    return sections;
  }

  const std::shared_ptr<const Graph> graph_;
  const int64_t max_record_bytes_;
  RecordSource* source_;  // one of nodes_
  std::unique_ptr<MapInstance> nodes_;
  std::vector<Record> chunk_;
  Verdicts verdicts_;
};

// The states of one state partition.
class GraphStateTable final : public StateTable {
 public:
  explicit GraphStateTable(std::shared_ptr<const Graph> graph)
      : graph_(std::move(graph)), states_(graph_->make_states()), pieces_(states_.size()) {}

  Status apply(const BatchContext& context, std::span<const std::string_view> sections) override {
    if (!restored_) return restored_;
    for (auto& pieces : pieces_) pieces.clear();
    for (size_t index = 0; index < sections.size(); ++index) {
      if (!split(sections[index])) {
        return fail(ErrorCode::kCorrupt, "section " + std::to_string(index) + " of batch " +
                                             std::to_string(context.batch.value()) +
                                             " does not parse; the partition must be restored");
      }
    }
    try {
      for (StateId state = 0; state < states_.size(); ++state) {
        if (Status status = states_[state]->apply(context, pieces_[state]); !status) return status;
      }
    } catch (const std::bad_alloc&) {
      throw;
    } catch (const std::exception& problem) {
      return threw("merge", problem.what());
    } catch (...) {
      return threw("merge", kNoException);
    }
    return {};
  }

  [[nodiscard]] bool changed() const override {
    return std::ranges::any_of(states_, [](const auto& state) { return state->changed(); });
  }

  [[nodiscard]] std::optional<std::string> read(std::string_view key, BatchId at) const override {
    return published().read(key, at);
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
  }
  void settle_freeze(bool complete) override {
    for (const auto& state : states_) state->settle_freeze(complete);
  }

  Status restore(const StateRun::Entry& entry, bool unpublished) override {
    const char* at = entry.key.data();
    const char* end = at + entry.key.size();
    uint64_t state = 0;
    if (!get_varint(at, end, state) || state >= states_.size()) {
      return fail(ErrorCode::kCorrupt, "the checkpoint has a key of state " + std::to_string(state) +
                                           ", the job has states up to " + std::to_string(states_.size() - 1) +
                                           "; was it written by another type of job?");
    }
    StateRun::Entry inner = entry;
    inner.key = {at, end};
    return states_[state]->restore(inner, unpublished && state == graph_->published());
  }
  void finish_restore(int64_t tick_ms) override {
    try {
      for (const auto& state : states_) state->finish_restore(tick_ms);
    } catch (const std::bad_alloc&) {
      throw;
    } catch (const std::exception& problem) {
      restored_ = threw("restore", problem.what());
    } catch (...) {
      restored_ = threw("restore", kNoException);
    }
  }

  [[nodiscard]] bool must_publish_all() const override { return published().must_publish_all(); }
  [[nodiscard]] std::vector<SinkEntry> take_unpublished(bool all) override { return published().take_unpublished(all); }
  void settle_publication(bool done) override { published().settle_publication(done); }
  [[nodiscard]] std::vector<SinkEntry> top(size_t n) override { return published().top(n); }
  [[nodiscard]] std::vector<SinkEntry> top_above(size_t n, double at_least) override {
    return published().top_above(n, at_least);
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
  [[nodiscard]] StateTable& published() const { return *states_[graph_->published()]; }

  bool split(std::string_view section) {
    const char* at = section.data();
    const char* end = at + section.size();
    while (at != end) {
      uint64_t edge = 0;
      uint64_t size = 0;
      if (!get_varint(at, end, edge) || edge >= pieces_.size()) return false;
      if (!get_varint(at, end, size) || size > static_cast<uint64_t>(end - at)) return false;
      pieces_[edge].emplace_back(at, size);
      at += size;
    }
    return true;
  }

  const std::shared_ptr<const Graph> graph_;
  const std::vector<std::unique_ptr<StateTable>> states_;
  Status restored_;                                    // what came of finish_restore()
  std::vector<std::vector<std::string_view>> pieces_;  // of the batch that is being applied, by edge
};

std::string name_of(const WindowSize& window) {
  return "a window of " + std::to_string(window.length_ms) + " ms that slides by " + std::to_string(window.slide_ms) +
         " ms";
}

void check_window(const WindowSize& window, int64_t interval_ms) {
  constexpr int64_t kLongest = std::chrono::milliseconds(std::chrono::years(10)).count();
  const std::string name = name_of(window);
  for (const int64_t size : {window.length_ms, window.slide_ms}) {
    if (size <= 0 || size > kLongest) throw JobError(name + " is none; both go from the batch interval to ten years");
    if (size % interval_ms != 0) {
      throw JobError(name + " does not fit batches of " + std::to_string(interval_ms) +
                     " ms; make both whole multiples of the batch interval, or give the job another one");
    }
  }
}

// The sink keeps its own notes beside a job's outputs.
void check_output(const std::string& name) {
  if (name.empty()) throw JobError("an output has no name; give publish() and rank() one");
  if (name == "fence" || name == "status") throw JobError("no output can be named '" + name + "'; the sink uses that");
}

}  // namespace

std::string too_long(int64_t max_record_bytes) {
  return "longer than " + std::to_string(max_record_bytes) + " bytes";
}

void check_same_window(const WindowSize& left, const WindowSize& right) {
  if (left == right) return;
  throw JobError(name_of(left) + " and " + name_of(right) + " cannot be joined; make both the same");
}

NodeId Graph::add_node(std::function<void(MapInstance&)> make, bool source_chain, bool direct) {
  if (source_chain) ++source_chains_;
  direct_ = direct_ && direct;
  nodes_.push_back(std::move(make));
  return nodes_.size();  // the source is node 0
}

StateId Graph::add_state(std::string name, std::function<std::unique_ptr<StateTable>(size_t rank_size)> make) {
  for (const State& state : states_) {
    if (state.name == name) throw JobError("two states are named '" + name + "'; give one of them another name");
  }
  states_.push_back({std::move(name), std::move(make)});
  return states_.size() - 1;
}

void Graph::publish(StateId state, std::string name, std::shared_ptr<const AnyShow> show) {
  if (published_) throw JobError("the job publishes two tables, which is not possible yet; publish one of them");
  check_output(name);
  published_ = state;
  layout_.values = std::move(name);
  show_ = std::move(show);
}

void Graph::rank(StateId state, std::string name, size_t size, bool all, const AnyShow* show) {
  if (published_ != state || show_.get() != show)
    throw JobError("rank '" + name +
                   "' is of a table that is not published; publish what is ranked, after the same map_values()");
  if (rank_size_ != 0) throw JobError("the table has two ranks, '" + layout_.rank + "' and '" + name + "'; keep one");
  if (size == 0) throw JobError("rank '" + name + "' must hold at least one key");
  check_output(name);
  if (name == layout_.values) throw JobError("a rank and a table are both named '" + name + "'; rename one of them");
  layout_.rank = std::move(name);
  layout_.rank_all = all;
  rank_size_ = size;
}

int64_t Graph::expire_keys(std::chrono::milliseconds time_to_live) {
  if (time_to_live <= std::chrono::milliseconds::zero() || time_to_live > std::chrono::years(1000)) {
    throw JobError("a time to live of " + std::to_string(time_to_live.count()) +
                   " ms is none; give one from a millisecond to 1000 years, or none at all");
  }
  need_time();
  remove_keys();
  return time_to_live.count();
}

WindowSize Graph::add_window(std::chrono::milliseconds length, std::chrono::milliseconds slide) {
  need_time();
  remove_keys();
  windows_.push_back({length.count(), slide.count()});
  return windows_.back();
}

WindowSize Graph::add_batch_window() {
  const auto interval = std::chrono::floor<std::chrono::milliseconds>(batch_interval_);
  return add_window(interval, interval);
}

void Graph::check(const JobContext& context) const {
  if (!published_) throw JobError("the job publishes nothing; end a table with publish(\"NAME\")");
  if (needs_time_ && context.batch_interval_us % 1000 != 0) {
    throw JobError("the job goes by batch time, which is in milliseconds, but its batch interval is " +
                   std::to_string(context.batch_interval_us) + " microseconds; give it one of whole milliseconds");
  }
  for (const WindowSize& window : windows_) check_window(window, context.batch_interval_us / 1000);
}

std::unique_ptr<MapInstance> Graph::make_map(int32_t state_partitions, std::unique_ptr<MapNode> source) const {
  auto instance = std::make_unique<MapInstance>(state_partitions, direct_ && source_chains_ == 1);
  instance->add(std::move(source));
  for (const auto& make : nodes_) make(*instance);
  CHECK_EQ(instance->nodes().size(), nodes_.size() + 1) << "each of a job's makers adds one node";
  return instance;
}

std::vector<std::unique_ptr<StateTable>> Graph::make_states() const {
  std::vector<std::unique_ptr<StateTable>> states;
  for (StateId state = 0; state < states_.size(); ++state) {
    states.push_back(states_[state].make(state == published_ ? rank_size_ : 0));
    if (state != published_ || show_ == nullptr) continue;
    auto* table = dynamic_cast<ShowsMapped*>(states.back().get());
    CHECK(table != nullptr) << "a table whose values are mapped knows how to show them";
    table->show_by(show_);
  }
  return states;
}

std::unique_ptr<MapTask> GraphJob::make_map_task() const {
  return std::make_unique<GraphMapTask>(graph_, state_partitions_, max_record_bytes_);
}

std::unique_ptr<StateTable> GraphJob::make_state_table() const {
  return std::make_unique<GraphStateTable>(graph_);
}

}  // namespace millrace::internal
