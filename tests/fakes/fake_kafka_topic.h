// FakeKafkaTopic: a topic of a FakeKafka and what a leader answers to a Fetch of it. No I/O; one thread at a time.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "adapters/kafka_messages.h"
#include "common/model/record_batch.h"
#include "tests/fakes/kafka_frames.h"

namespace millrace {

// How records are appended.
struct AppendedAs {
  Compression codec = Compression::kNone;
  int64_t producer = -1;          // of a transaction, which begins with them
  int64_t gap = 0;                // so many offsets before them are of nobody
  int16_t attributes = 0;         // more than follow from the others
  std::optional<size_t> changed;  // a byte of the batch that is changed behind its checksum's back
};

class FakeKafkaTopic {
 public:
  static constexpr char kName[] = "lines";

  struct Leader {
    int32_t broker = 0;
    int32_t epoch = 0;
  };

  explicit FakeKafkaTopic(int partitions);

  // As one batch.
  void append(LogPartition partition, const std::vector<std::string>& values, const AppendedAs& how = {});
  void end_transaction(LogPartition partition, int64_t producer, bool commit);
  void drop_oldest(LogPartition partition, Offset begin);
  void cut_back(LogPartition partition, Offset end);  // by a new epoch of the same leader
  void lead(LogPartition partition, int broker);      // with the next epoch; -1: nobody does
  void make_anew();
  void hide(bool hidden) { hidden_ = hidden; }
  void forget_id() { id_ = {}; }

  [[nodiscard]] FetchFrame answer(int broker, const FetchQuestion& question) const;
  [[nodiscard]] std::optional<KafkaTopicId> id() const { return hidden_ ? std::nullopt : std::optional(id_); }
  [[nodiscard]] std::vector<Leader> leaders() const;
  [[nodiscard]] Offset end(LogPartition partition) const { return at(partition).end; }

 private:
  struct Batch {
    Offset base;
    Offset next;
    std::string bytes;
  };
  struct Partition {
    int broker = 0;
    std::vector<std::pair<int32_t, Offset>> epochs{{0, Offset(0)}};  // and where they begin
    Offset begin{0};
    Offset end{0};
    std::vector<Batch> batches;
    std::map<int64_t, Offset> open;                              // transactions: producers and their first offsets
    std::vector<std::pair<AbortedTransaction, Offset>> aborted;  // and their marks

    [[nodiscard]] int32_t epoch() const { return epochs.back().first; }
    void begin_epoch();
    [[nodiscard]] Offset last_stable() const;
    [[nodiscard]] std::optional<DivergingEpoch> end_of_epoch(int32_t asked) const;
    void add(Offset next, std::string bytes);
    void read(const FetchQuestion& question, FetchFrame& frame) const;
  };

  Partition& at(LogPartition partition) { return partitions_.at(static_cast<size_t>(partition.value())); }
  [[nodiscard]] const Partition& at(LogPartition partition) const {
    return partitions_.at(static_cast<size_t>(partition.value()));
  }

  KafkaTopicId id_;
  bool hidden_ = false;
  std::vector<Partition> partitions_;
};

}  // namespace millrace
