#include "worker/lane_mapper.h"

#include <algorithm>
#include <stdexcept>

#include "common/base/check.h"
#include "common/model/record_batch.h"
#include "common/model/source_topics.h"

namespace millrace {
namespace {

constexpr size_t kLeastMemory = 4 << 20;

std::string place_of(LogPartition partition, OffsetRange range) {
  return text_of(partition) + ", offsets " + std::to_string(range.from.value()) + " to " +
         std::to_string(range.to.value());
}

// Of the record batch that ends a range, or of the last one before it; 0: it has none.
int64_t newest_time_stamp(std::string_view bytes, Offset to) {
  int64_t newest_ms = 0;
  RecordBatchCursor batches(bytes);
  for (RecordBatchView batch; batches.next(batch) && batch.base_offset() < to;) newest_ms = batch.max_timestamp_ms();
  return std::max<int64_t>(newest_ms, 0);
}

// A section for every state partition: an empty one says that the range has nothing for it, where a missing one
// says nothing at all.
std::vector<ShuffleBlock::Section> fill_gaps(std::vector<ShuffleBlock::Section> sections, int32_t state_partitions) {
  std::vector<ShuffleBlock::Section> filled;
  filled.reserve(static_cast<size_t>(state_partitions));
  auto next = sections.begin();
  for (int32_t p = 0; p < state_partitions; ++p) {
    if (next != sections.end() && next->partition == StatePartition(p)) {
      filled.push_back(std::move(*next++));
    } else {
      filled.push_back({StatePartition(p), {}});
    }
  }
  return filled;
}

}  // namespace

LaneMapper::LaneMapper(Deps deps, std::unique_ptr<Log> log)
    : deps_(std::move(deps)), log_(std::move(log)), kept_(deps_.memory_bytes) {}

PartitionReader::Events LaneMapper::events(LogPartition partition, bool reports) {
  return {[this, reports](const wire::FetchedPartition& boundary) {
            if (reports) deps_.handler.on_fetched(stamp_, boundary);
            deps_.wake();
          },
          [this, partition](std::optional<Error> error) { deps_.handler.on_log_trouble(partition, std::move(error)); }};
}

size_t LaneMapper::read_ahead_bytes() const {
  size_t bytes = 0;
  for (const auto& [partition, source] : sources_) {
    if (source.ahead != nullptr) bytes += source.ahead->held_bytes();
    if (source.again != nullptr) bytes += source.again->held_bytes();
  }
  return bytes;
}

void LaneMapper::assign(const LaneAssignment& assignment) {
  stamp_ = assignment.stamp;
  if (assignment.new_epoch) forget_beyond(assignment.durable);
  const size_t memory = std::max(deps_.memory_bytes, kLeastMemory);
  read_ahead_ = memory / std::max<size_t>(assignment.logs.size(), 1);
  std::map<LogPartition, const LaneAssignment::LogShare*> shares;
  for (const auto& share : assignment.logs) {
    shares[share.partition] = &share;
    sources_.try_emplace(share.partition);
  }
  for (auto source = sources_.begin(); source != sources_.end();) {
    const auto share = shares.find(source->first);
    assign_source(source->first, share == shares.end() ? nullptr : share->second, assignment.new_epoch, read_ahead_);
    const bool idle = !source->second.owned && source->second.queue.empty() && !source->second.current;
    source = idle ? sources_.erase(source) : std::next(source);
  }
  deps_.wake();
}

void LaneMapper::assign_source(LogPartition partition, const LaneAssignment::LogShare* share, bool restart,
                               size_t read_ahead) {
  Source& source = sources_[partition];
  const bool goes_on = share != nullptr && source.owned && !restart;
  if (goes_on) return;
  if (source.current && source.current->reader == source.ahead.get()) {
    // The range that is being mapped starts again from a reader of its own.
    MapRequest request = source.current->request;
    drop_current(source);
    source.queue.push_front(std::move(request));
  }
  source.ahead.reset();
  source.owned = share != nullptr;
  if (share == nullptr) return;
  LogReaderOptions options;
  options.partition = partition;
  options.from = share->read_from;
  options.read_ahead_bytes = read_ahead;
  source.ahead = std::make_unique<PartitionReader>(*log_, deps_.clock, options, events(partition, true));
}

void LaneMapper::forget_beyond(BatchId durable) {
  kept_.forget_beyond(durable);
  for (auto& [partition, source] : sources_) {
    std::erase_if(source.queue, [durable](const MapRequest& request) { return request.batch > durable; });
    if (source.current && source.current->request.batch > durable) drop_current(source);
  }
}

void LaneMapper::drop_current(Source& source) {
  source.current->task->finish();
  idle_tasks_.push_back(std::move(source.current->task));
  source.current.reset();
}

void LaneMapper::map(MapRequest request) {
  Source& source = sources_[request.partition];
  enqueue(source, std::move(request));
  deps_.wake();
}

void LaneMapper::enqueue(Source& source, MapRequest request) {
  // What is still to be mapped for everybody needs no replay: its block goes to whoever are the owners then.
  const auto covers = [&request](const MapRequest& other) {
    return !other.replay && other.batch == request.batch && other.range == request.range &&
           other.times == request.times;
  };
  if (source.current && covers(source.current->request)) return;
  if (std::ranges::any_of(source.queue, covers)) return;
  const auto place = std::ranges::upper_bound(source.queue, request.batch, {}, &MapRequest::batch);
  source.queue.insert(place, std::move(request));
}

bool LaneMapper::can_step(const Source& source) const {
  if (!source.current) return !source.queue.empty();
  return source.current->reader->has_data() || source.current->reader->position() >= source.current->request.range.to;
}

bool LaneMapper::step() {
  auto best = sources_.end();
  BatchId best_batch;
  for (auto source = sources_.begin(); source != sources_.end(); ++source) {
    if (!can_step(source->second)) continue;
    const Source& candidate = source->second;
    const BatchId batch = candidate.current ? candidate.current->request.batch : candidate.queue.front().batch;
    if (best == sources_.end() || batch < best_batch) {
      best = source;
      best_batch = batch;
    }
  }
  if (best == sources_.end()) return false;
  if (best->second.current) {
    map_piece(best->first, best->second);
  } else {
    begin(best->first, best->second);
  }
  return true;
}

std::unique_ptr<MapTask> LaneMapper::take_task() {
  if (idle_tasks_.empty()) {
    auto made = deps_.job.make_map_task();
    made->count_steps(deps_.activity.steps());
    return made;
  }
  std::unique_ptr<MapTask> task = std::move(idle_tasks_.back());
  idle_tasks_.pop_back();
  return task;
}

void LaneMapper::begin(LogPartition partition, Source& source) {
  MapRequest request = std::move(source.queue.front());
  source.queue.pop_front();
  if (const BlockStore::Kept* kept = kept_.find(request.batch, partition, request.range, request.times)) {
    emit(request, *kept, std::nullopt);
    return;
  }
  PartitionReader* reader = reader_for(partition, source, request);
  auto task = take_task();
  task->begin(request.times);
  const RangeTimes times{.lane = deps_.lane, .received = request.received, .begin = deps_.clock.now()};
  source.current =
      Current{.request = std::move(request), .reader = reader, .report = {}, .task = std::move(task), .times = times};
}

PartitionReader* LaneMapper::reader_for(LogPartition partition, Source& source, const MapRequest& request) {
  if (source.ahead && request.range.from >= source.ahead->position()) {
    source.ahead->skip_to(request.range.from);
    return source.ahead.get();
  }
  const bool fits = source.again && source.again->position() == request.range.from &&
                    source.again->until() >= std::optional(request.range.to);
  if (fits) return source.again.get();
  // Ranges that follow one another are read by one reader.
  Offset until = request.range.to;
  for (const MapRequest& next : source.queue) {
    if (next.range.from == until) until = next.range.to;
  }
  LogReaderOptions options;
  options.partition = partition;
  options.from = request.range.from;
  options.until = until;
  options.read_ahead_bytes = std::max<size_t>(read_ahead_ / 2, 1 << 20);
  source.again = std::make_unique<PartitionReader>(*log_, deps_.clock, options, events(partition, false));
  return source.again.get();
}

void LaneMapper::map_piece(LogPartition partition, Source& source) {
  Current& current = *source.current;
  const OffsetRange range = current.request.range;
  const MonotonicTime resumed = deps_.clock.now();
  if (const auto piece = current.reader->take(range.to)) {
    const LaneActivity::Scope scope(deps_.activity, LaneActivity::Kind::kMap, current.request.batch, partition.value(),
                                    piece->range);
    const Status mapped = current.task->map(partition, piece->range, piece->bytes.view(), current.report);
    if (!mapped) {
      deps_.handler.on_failed(
          {mapped.error().code, "map of " + place_of(partition, piece->range) + " failed: " + mapped.error().message});
      drop_current(source);
      return;
    }
    current.times.fetched = piece->arrived;
    current.times.waited += piece->waited;
    if (piece->range.to >= range.to) current.times.newest_ms = newest_time_stamp(piece->bytes.view(), range.to);
  }
  if (current.reader->position() >= range.to) {
    finish(source, resumed);
  } else {
    current.times.busy += deps_.clock.now() - resumed;
  }
}

// `resumed`: since then it works on the last piece.
void LaneMapper::finish(Source& source, MonotonicTime resumed) {
  Current current = std::move(*source.current);
  source.current.reset();
  const MapRequest& request = current.request;

  auto block = std::make_shared<ShuffleBlock>();
  block->batch = request.batch;
  block->source = request.partition;
  block->range = request.range;
  block->times = request.times;
  {
    const LaneActivity::Scope scope(deps_.activity, LaneActivity::Kind::kMap, request.batch, request.partition.value(),
                                    request.range);
    try {
      block->sections = current.task->finish();
    } catch (const std::runtime_error& problem) {
      deps_.handler.on_failed({ErrorCode::kInvalid, "map of batch " + std::to_string(request.batch.value()) + ", " +
                                                        place_of(request.partition, request.range) +
                                                        " failed: " + problem.what()});
      if (source.queue.empty()) source.again.reset();
      return;
    }
  }
  idle_tasks_.push_back(std::move(current.task));
  auto outcome = std::make_shared<MapOutcome>();
  outcome->batch = request.batch;
  outcome->partition = request.partition;
  outcome->range = request.range;
  outcome->times = request.times;
  outcome->report = std::move(current.report);
  outcome->fingerprint = block->fingerprint();
  block->sections = fill_gaps(std::move(block->sections), deps_.state_partitions);

  const BlockStore::Kept kept{std::move(outcome), std::move(block)};
  kept_.keep(kept);
  current.times.end = deps_.clock.now();
  current.times.busy += current.times.end - resumed;
  emit(request, kept, request.replay ? std::nullopt : std::optional(current.times));
  if (source.queue.empty()) source.again.reset();
}

void LaneMapper::emit(const MapRequest& request, const BlockStore::Kept& kept, const std::optional<RangeTimes>& times) {
  MappedRange mapped;
  mapped.times = times;
  mapped.outcome = kept.outcome;
  if (request.replay) mapped.only = request.only;
  if (!request.replay || !request.only.empty()) mapped.block = kept.block;
  deps_.handler.on_mapped(stamp_, std::move(mapped));
}

}  // namespace millrace
