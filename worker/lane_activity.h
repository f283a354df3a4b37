// LaneActivity: what a lane does in the job's own code (functions, merges, codecs), for who looks from another thread
// while it does not come back; see LaneWatch. Written by the lane's thread, read by any.
//
// The fields belong together while the lane is in one call, and only then is anybody interested in all of them.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "common/base/ids.h"
#include "stream/job.h"

namespace millrace {

class LaneActivity {
 public:
  enum class Kind : uint8_t { kNothing, kMap, kApply, kRestore, kShow, kSave };

  // As long as it lives the lane is in the job's code. One at a time.
  class Scope {
   public:
    // `place`: a log partition of kMap, else a state partition.
    Scope(LaneActivity& activity, Kind kind, BatchId batch, int32_t place, OffsetRange range = {})
        : activity_(activity) {
      activity_.batch_.store(batch.value(), std::memory_order_relaxed);
      activity_.place_.store(place, std::memory_order_relaxed);
      activity_.from_.store(range.from.value(), std::memory_order_relaxed);
      activity_.to_.store(range.to.value(), std::memory_order_relaxed);
      activity_.kind_.store(kind, std::memory_order_relaxed);
      activity_.steps_.step();
    }
    ~Scope() {
      activity_.kind_.store(Kind::kNothing, std::memory_order_relaxed);
      activity_.steps_.step();
    }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    LaneActivity& activity_;
  };

  // Counts calls, and how far the job's code has come in one.
  [[nodiscard]] CallSteps& steps() { return steps_; }
  [[nodiscard]] uint64_t count() const { return steps_.count(); }
  [[nodiscard]] bool in_call() const { return kind_.load(std::memory_order_relaxed) != Kind::kNothing; }
  // For people: "map of batch 7, log partition 0, offsets 10 to 20".
  [[nodiscard]] std::string text() const;

 private:
  std::atomic<Kind> kind_ = Kind::kNothing;
  std::atomic<int64_t> batch_ = 0;
  std::atomic<int32_t> place_ = 0;
  std::atomic<int64_t> from_ = 0;
  std::atomic<int64_t> to_ = 0;
  CallSteps steps_;
};

}  // namespace millrace
