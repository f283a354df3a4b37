// Watermark: up to which event time a job has seen all records, as far as it can know. One number for the job, chosen
// when a batch is cut, recorded with it, and never lowered; a replay takes the recorded one.
//
// Each log partition has told how far its event times have come. The watermark is the least of these, less the delay
// that the job allows records to come late by. A partition that has told nothing yet holds it back, since what it has
// may be old. One that has told nothing new for so long, and of which the log is known to hold no record that is not
// read, is idle and does not; where all are idle the watermark stays. How long a partition was quiet is counted by
// batches, and of a gap between two batches only a part counts: neither a pause of the job nor a new master makes a
// partition idle at once.
//
// Plain data of one loop.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <set>

#include "common/base/ids.h"

namespace millrace {

// What a job says of its event time.
struct EventTimePlan {
  int64_t delay_ms = 0;  // how much later than others a record may come
  int64_t idle_ms = 0;   // after which a quiet partition does not hold the watermark back; 0: never

  bool operator==(const EventTimePlan&) const = default;
};

// Event times are Unix milliseconds, from 1 to the end of the year 9999.
inline constexpr int64_t kLastEventTime_ms = 253'402'300'799'999;
// The watermark when nothing comes any more.
inline constexpr int64_t kEndOfTime_ms = std::numeric_limits<int64_t>::max();

class Watermark {
 public:
  // What is known of the log where a batch is cut.
  struct Seen {
    std::set<LogPartition> unread;         // it holds records of these that are in no batch
    std::set<LogPartition> never_written;  // it never held any record of these
    bool blind = false;                    // it cannot be looked at now
  };

  // `recorded_ms`: the newest that is recorded; 0: none.
  Watermark(EventTimePlan plan, int64_t batch_interval_ms, int64_t recorded_ms);

  // A partition of the log.
  void add(LogPartition partition) { sources_.try_emplace(partition); }
  // The greatest event time of a range that was mapped; 0: it has none.
  void tell(LogPartition partition, int64_t event_ms);

  // That of the batch that is cut now, whose batch time this is.
  int64_t take(int64_t time_ms, const Seen& seen);
  // Nothing comes any more: all batches from here on have the end of time.
  void end() { watermark_ms_ = kEndOfTime_ms; }
  // As for the batch before.
  [[nodiscard]] int64_t newest() const { return watermark_ms_; }
  // Which partition holds it where it is; none: all are idle.
  [[nodiscard]] std::optional<LogPartition> holder() const { return holder_; }

 private:
  static constexpr int64_t kLeastBatches = 16;  // an idle partition was quiet for so many, if the interval allows it

  struct Source {
    int64_t event_ms = 0;  // greatest, 0: none
    int64_t quiet_ms = 0;  // since it has told an event time
  };

  const EventTimePlan plan_;
  const int64_t most_counted_ms_;  // of the time between two batches
  std::map<LogPartition, Source> sources_;
  int64_t time_ms_ = 0;  // of the batch before, 0: none
  int64_t watermark_ms_;
  std::optional<LogPartition> holder_;
};

}  // namespace millrace
