#include <algorithm>
#include <stdexcept>
#include <utility>

#include "common/model/source_topics.h"
#include "stream/graph.h"
#include "stream/guarded.h"

namespace millrace::internal {
namespace {

uint64_t place_of(LogPartition partition, Offset from) {
  return (static_cast<uint64_t>(partition.value()) << 40) + static_cast<uint64_t>(from.value());
}

// The log's records, in chunks.
class RecordSource final : public Origin<Record> {
 public:
  void give_records(std::span<const Record> records, Verdicts& verdicts) {
    give(records, std::span(kAscending).first(records.size()), verdicts);
  }
};

class GraphMapTask final : public MapTask {
 public:
  GraphMapTask(std::shared_ptr<const Graph> graph, int32_t state_partitions, int64_t max_record_bytes,
               std::vector<std::string> topics)
      : graph_(std::move(graph)), max_record_bytes_(max_record_bytes), topics_(std::move(topics)) {
    auto source = std::make_unique<RecordSource>();
    source_ = source.get();
    nodes_ = graph_->make_map(state_partitions, std::move(source));
    chunk_.reserve(kChunk);
  }

  void count_steps(CallSteps& steps) override { nodes_->count_steps(steps); }
  void begin(const MapTimes& times) override { nodes_->event_scope().times = times; }

  // After kCorrupt all pairs since the last finish() are forgotten.
  Status map(LogPartition partition, OffsetRange range, std::string_view bytes, MapReport& report) override {
    if (std::exchange(begins_, false)) nodes_->set_place(place_of(partition, range.from));
    Status status = guarded([this] { return where(); }, [&] { return map_batches(partition, range, bytes, report); });
    if (!status) clear();
    report.emitted += nodes_->take_emitted();
    EventScope& events = nodes_->event_scope();
    report.event_ms = std::max(report.event_ms, std::exchange(events.greatest_ms, 0));
    report.late += std::exchange(events.late, 0);
    return status;
  }

  // Merges what was not merged yet: what the job's code throws for it is thrown with its place.
  std::vector<ShuffleBlock::Section> finish() override {
    chunk_.clear();
    begins_ = true;
    std::vector<ShuffleBlock::Section> sections;
    const Status done = guarded([this] { return where(); },
                                [&]() -> Status {
                                  sections = nodes_->finish();
                                  return {};
                                });
    if (done) return sections;
    clear();
    throw std::runtime_error(done.error().message);
  }

 private:
  [[nodiscard]] std::string where() const {
    const std::optional<EdgeId> edge = nodes_->merging();
    return edge ? graph_->place_of(*edge) + ", merging pairs in the map" : std::string("the map");
  }

  Status map_batches(LogPartition partition, OffsetRange range, std::string_view bytes, MapReport& report) {
    Record of_partition;
    of_partition.partition = LogPartition(topic_partition(partition));
    if (topic_index(partition) < topics_.size()) of_partition.topic = topics_[topic_index(partition)];
    RecordBatchCursor batches(bytes);
    for (RecordBatchView batch; batches.next(batch);) {
      if (batch.is_control() || batch.last_offset() < range.from || batch.base_offset() >= range.to) continue;
      RecordCursor records(batch);
      if (nodes_->direct_consumer() != nullptr) {
        nodes_->step();
        nodes_->direct_consumer()->consume(of_partition, range, max_record_bytes_, records, report);
        if (Status status = records.status(); !status) return status;
        continue;
      }
      Record record = of_partition;
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
    nodes_->end_chunk(verdicts_);
    report.records += static_cast<int64_t>(chunk_.size());
    std::ranges::sort(verdicts_.problems());
    for (auto& [record, problem] : verdicts_.problems()) {
      report.add_dead_letter(chunk_[record].offset, chunk_[record].timestamp_ms, std::move(problem));
    }
    chunk_.clear();
  }

  void clear() {
    chunk_.clear();
    nodes_->clear();
  }

  const std::shared_ptr<const Graph> graph_;
  const int64_t max_record_bytes_;
  const std::vector<std::string> topics_;
  RecordSource* source_;  // one of nodes_
  std::unique_ptr<MapInstance> nodes_;
  std::vector<Record> chunk_;
  Verdicts verdicts_;
  bool begins_ = true;  // nothing was mapped since finish()
};

}  // namespace

std::unique_ptr<MapTask> GraphJob::make_map_task() const {
  return std::make_unique<GraphMapTask>(graph_, state_partitions_, max_record_bytes_, topics_);
}

}  // namespace millrace::internal
