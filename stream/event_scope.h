// EventScope: what a map task knows of event time while it maps a range. Owned by one lane and used by its thread only.
#pragma once

#include <cstdint>
#include <utility>

#include "common/model/shuffle_block.h"

namespace millrace::internal {

struct EventScope {
  MapTimes times;  // of the batch
  // Of the records mapped since these were taken, those that are refused left out.
  int64_t greatest_ms = 0;  // event time, 0: none
  int64_t late = 0;         // that came too late for some window
};

// A value with its event time. What comes of it is a function of this alone, so that a replay gives the same.
template <typename T>
struct Stamped {
  T value;
  int64_t time_ms;
  int64_t watermark_ms;  // of its batch
  bool* late;            // to be set where its record comes too late for a window

  // Another value of the same time.
  template <typename U>
  Stamped<U> with(U next) const {
    return {std::move(next), time_ms, watermark_ms, late};
  }
};

}  // namespace millrace::internal
