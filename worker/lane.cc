#include "worker/lane.h"

#include "common/base/check.h"

namespace millrace {

Lane::Lane(Options options, Deps deps)
    : options_(std::move(options)),
      deps_(std::move(deps)),
      reducer_({.lane = options_.index,
                .clock = deps_.clock,
                .job = *deps_.job,
                .handler = *deps_.handler,
                .activity = *deps_.activity,
                .wake = [this] { wake(); },
                .state_partitions = options_.spec.state_partitions,
                .freeze_keys_per_step = deps_.freeze_keys_per_step}) {}

void Lane::open(bool describe) {
  CHECK(deps_.loop.on_loop());
  Result<std::unique_ptr<Log>> log = deps_.make_log(options_.spec, deps_.loop);
  if (!log) {
    deps_.handler->on_opened(options_.index, std::unexpected(log.error()));
    return;
  }
  LaneMapper::Deps deps{.lane = options_.index,
                        .clock = deps_.clock,
                        .job = *deps_.job,
                        .handler = *deps_.handler,
                        .activity = *deps_.activity,
                        .wake = [this] { wake(); },
                        .state_partitions = options_.spec.state_partitions,
                        .memory_bytes = static_cast<size_t>(options_.spec.lane_memory_bytes)};
  mapper_ = std::make_unique<LaneMapper>(std::move(deps), std::move(*log));
  if (!describe) {
    deps_.handler->on_opened(options_.index, std::nullopt);
    return;
  }
  mapper_->log().describe(lifetime_.guard([this](Result<LogDescription> description) {
    if (description) {
      deps_.handler->on_opened(options_.index, std::move(*description));
    } else {
      deps_.handler->on_opened(options_.index, std::unexpected(description.error()));
    }
  }));
}

void Lane::assign(const LaneAssignment& assignment) {
  CHECK(mapper_ != nullptr) << "assigned before the log was open";
  mapper_->assign(assignment);
  reducer_.assign(assignment);
  mapper_->forget_kept(assignment.checkpoint);
}

void Lane::run(PlanPointer plan) {
  reducer_.run(std::move(plan));
}

void Lane::progress(const Watermarks& watermarks) {
  mapper_->forget_kept(watermarks.checkpointed);
  reducer_.progress(watermarks);
  note_figures();
}

void Lane::map(std::vector<MapRequest> requests) {
  for (MapRequest& request : requests) mapper_->map(std::move(request));
}

void Lane::wake() {
  if (work_posted_) return;
  work_posted_ = true;
  deps_.loop.post(lifetime_.guard([this] { work(); }));
}

void Lane::work() {
  work_posted_ = false;
  const MonotonicTime begin = deps_.clock.now();
  const bool reduced = reducer_.step();
  const bool mapped = mapper_ != nullptr && mapper_->step();
  busy_ += deps_.clock.now() - begin;
  note_figures();
  if (reduced || mapped) wake();
}

void Lane::note_figures() {
  deps_.figures->busy_us.store(to_us(busy_), std::memory_order_relaxed);
  if (mapper_ == nullptr) return;
  deps_.figures->read_ahead_bytes.store(static_cast<int64_t>(mapper_->read_ahead_bytes()), std::memory_order_relaxed);
  deps_.figures->kept_bytes.store(static_cast<int64_t>(mapper_->kept_bytes()), std::memory_order_relaxed);
}

}  // namespace millrace
