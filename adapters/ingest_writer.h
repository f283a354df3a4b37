// IngestWriter: appends to an embedded log by the master's Ingest service, over a few connections.
//
// What comes for a log partition while an append to it is under way goes with the next one, in one call, so that one
// sync of the master's disk serves many requests. Such calls are numbered by this writer, partition by partition; a
// request with a key of its own is one call for each partition, numbered by a hash of its key. So a call whose answer
// was lost, because the connection broke or the master was restarted, is repeated as it was and stored once.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "adapters/ingest_connection.h"
#include "adapters/writes_under_way.h"
#include "common/model/address.h"
#include "common/seams/record_writer.h"

namespace millrace {

struct IngestWriterOptions {
  std::string log;  // its name
  HostPort master;  // its --api
  int connections = 8;
  int32_t partitions = 4;                            // of a log that is not there yet
  size_t most_bytes = 64u << 20;                     // of records that are under way
  Duration queue_timeout = std::chrono::seconds(5);  // what has not been sent by then is not stored
  Duration call_timeout = std::chrono::seconds(10);  // a call is repeated for so long
};

class IngestWriter final : public RecordWriter {
 public:
  // Connects by itself, and goes on trying. Until a master has answered once, requests are refused (kUnavailable).
  explicit IngestWriter(IngestWriterOptions options);
  // Waits for the calls that are under way, but does not repeat them.
  ~IngestWriter() override;

  void write(WriteRequest request, Done done) override;
  [[nodiscard]] Health health() const override;

 private:
  // The records of a request that go into one partition, all of them with a key or none.
  struct Part {
    WritesUnderWay::Write* write = nullptr;
    std::vector<std::string> values;
    std::vector<std::string> keys;
    size_t bytes = 0;
  };
  // Records with keys and records without cannot be in one call, so a partition has a lane for each.
  struct Lane {
    LogPartition partition;
    int64_t producer = 0;  // this writer's own
    int64_t sequence = 0;
    std::deque<Part> waiting;
    bool busy = false;  // a task of it waits or is under way
  };
  // What a connection is to do: to append a part under a number of its own, or what waits in a lane.
  struct Task {
    size_t lane = 0;
    int64_t producer = 0;  // 0: the lane's
    Part part;             // none if it is the lane's
  };
  struct Call {
    size_t lane = 0;
    bool of_lane = false;  // it was taken from what waits there
    LogPartition partition;
    AppendIdentity identity;
    std::vector<std::string> values;
    std::vector<std::string> keys;
    struct Share {
      WritesUnderWay::Write* write;
      int64_t records;
    };
    std::vector<Share> shares;                     // of them, in their order; none: there is nothing to append
    std::vector<WritesUnderWay::Write*> too_late;  // what waited too long, and is not in it
  };

  [[nodiscard]] std::vector<Task> split(WriteRequest& request, size_t partitions, size_t keyless) const;
  void watch(const std::stop_token& stop);
  void make_lanes(int32_t partitions);  // under mutex_
  void serve(const std::stop_token& stop);
  Call take();  // under mutex_
  void take_part(Part part, Call& call) const;
  void take_waiting(Lane& lane, Call& call) const;  // under mutex_
  Result<OffsetRange> perform(IngestConnection& connection, const Call& call, const std::stop_token& stop);
  void answer(const Call& call, const Result<OffsetRange>& stored);
  void go_on(const Call& call, const Result<OffsetRange>& stored);
  bool pause(const std::stop_token& stop, Duration time);  // false: this ends
  [[nodiscard]] std::string place() const;

  // Constant after construction.
  const IngestWriterOptions options_;

  WritesUnderWay writes_;

  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable_any changed_;
  std::vector<Lane> lanes_;  // by partition, then without keys and with; none: no master has answered yet
  size_t next_ = 0;          // partition for records without a key
  std::deque<Task> tasks_;
  std::string away_;           // why the master does not answer; empty: it does
  std::string append_failed_;  // why the newest append did; empty: it did not

  std::vector<std::jthread> threads_;
};

}  // namespace millrace
