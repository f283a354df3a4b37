// FakeLog: an in-memory Log over a FakeTopic, for tests and for the simulator. Deterministic: chunks are cut by the
// topic's seed, delivered by timers of the loop, and everything happens on one thread.
//
// As real logs do, chunks may begin and end with records outside of their range, may hold several record batches,
// and their offsets may have gaps.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/seams/log.h"
#include "common/seams/task_loop.h"

namespace millrace {

struct FakeLogOptions {
  Duration latency = std::chrono::milliseconds(1);  // from append, or from the chunk before, to delivery
  int64_t most_records_a_chunk = 100;               // their number is drawn from 1 to this
};

// The topic itself, shared by the FakeLogs of all processes and outliving them. Used on the one thread that all
// their loops run on.
class FakeTopic {
 public:
  struct Record {
    int64_t timestamp_ms = 0;
    std::optional<std::string> key;
    std::optional<std::string> value;
  };

  // Without partitions it is a topic that does not exist. With `topics` it is so many, which the partitions are dealt
  // to in turn, the added ones too.
  FakeTopic(int32_t partitions, uint64_t seed, std::string topic_id = "fake", size_t topics = 1);
  ~FakeTopic();
  FakeTopic(const FakeTopic&) = delete;
  FakeTopic& operator=(const FakeTopic&) = delete;

  // Returns the offset of the (first) record.
  Offset append(LogPartition partition, Record record);
  Offset append(LogPartition partition, const std::vector<std::string>& values);
  // Offsets that hold no record, as transactions leave them.
  void skip(LogPartition partition, int64_t offsets);
  // Records below `begin` are gone: who reads there gets kDataLost.
  void retain_from(LogPartition partition, Offset begin);
  // While away nothing is delivered; readers are told kUnavailable once, describe() answers it.
  void set_available(bool available);
  // LogDescription::unfit from now on.
  void set_unfit(std::string why) { unfit_ = std::move(why); }
  // Adds empty partitions.
  void grow(int32_t partitions);
  // A topic of the same name made anew: empty, its readers get kDataLost.
  void make_anew(std::string topic_id);

  // Ascending.
  [[nodiscard]] std::vector<LogPartition> ids() const;
  [[nodiscard]] Offset begin(LogPartition partition) const { return at(partition).begin; }
  [[nodiscard]] Offset end(LogPartition partition) const;
  [[nodiscard]] const std::optional<Record>& record(LogPartition partition, Offset offset) const;
  [[nodiscard]] LogDescription describe() const;

 private:
  friend class FakeLog;
  struct Reader;
  struct Partition {
    Offset begin;
    std::vector<std::optional<Record>> records;  // index is the offset; nullopt is a gap
  };

  [[nodiscard]] Partition& at(LogPartition partition);
  [[nodiscard]] const Partition& at(LogPartition partition) const;
  void wake(std::optional<LogPartition> partition);
  [[nodiscard]] uint64_t draw(uint64_t bound);  // 0 to bound - 1
  LogChunk cut(LogPartition partition, Offset from, Offset to);

  std::string topic_id_;
  std::string unfit_;
  const size_t topics_;
  std::vector<Partition> partitions_;
  std::vector<std::weak_ptr<Reader>> readers_;
  bool available_ = true;
  uint64_t random_state_;
};

// Lives on one loop.
class FakeLog final : public Log {
 public:
  FakeLog(FakeTopic& topic, TaskLoop& loop, FakeLogOptions options = {});  // both outlive this
  ~FakeLog() override;

  void describe(std::move_only_function<void(Result<LogDescription>)> done) override;
  void find_time(int64_t time_ms, std::move_only_function<void(Result<LogOffsets>)> done) override;
  [[nodiscard]] std::unique_ptr<LogReader> open(const LogReaderOptions& options, LogReaderHandler* handler) override;

 private:
  FakeTopic& topic_;
  TaskLoop& loop_;
  const FakeLogOptions options_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace millrace
