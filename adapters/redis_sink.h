// RedisSink: results in Redis, under keys that share the hash tag {NAME}:
//   {NAME}:counts   hash of each published table: every key's text (the suffixes are those of the job's tables)
//   {NAME}:top      sorted set: a table's rank. Exactly the entries of RoundEnd::ranks, or, with TablePlan::rank_all,
//                   every key, written with its value. Redis orders equal scores by the members' bytes, ascending; so
//                   ZREVRANGE shows ties from the greatest bytes down, while of equal scores at the rank's end
//                   those with the smaller bytes have the places.
//   {NAME}:counts:KEY  of a table that is no mere hash, beside it an object for each key: its text as a string, or,
//                   of an index, the sorted set of its members by their counts
//   {NAME}:status   hash: as of which batch, and the totals
//   {NAME}:fence    hash: see redis_scripts.h
//
// One thread with one connection does the calls in order. Publications that wait are taken together: a script call
// checks and writes those of many partitions, each by its own fence, and several calls are under way at a time. A
// publication with more entries than a call may have is cut into chunks, of which each applies only after the one
// before it, so `done` means all. A connection that turns out to be broken is made anew once within a call;
// while Redis is away calls fail at once, and a connection is tried again no sooner than the back-off allows.
//
// Without a claim nothing is written: where no job id is stored, publications and rounds answer kDataLost. So they do
// where the values' number is not what the fence says; a claim then removes what is left of the job's keys, and all is
// published again. What is noticed of lost keys and what is not: redis_scripts.h.
//
// A full publication first opens the fence, which keeps older owners out, then walks the hash for keys of its
// partition that the state does not hold, unless the fence shows that there can be none.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "adapters/redis_connection.h"
#include "common/seams/sink.h"
#include "common/seams/task_loop.h"

namespace millrace {

class RedisWriter;
class WorkerThread;

struct RedisSinkOptions {
  std::map<std::string, std::string> config;  // username, password: see parse_redis_uri
  // Which state partition a key belongs to; for full publications. Thread-safe.
  std::function<StatePartition(std::string_view key)> partition_of;
  size_t chunk_entries = 512;  // of a script call; at most 1,000, since they pass through Lua's stack
  size_t chunks_under_way = 8;
  size_t max_calls = 4096;  // that are not answered; more are refused with kUnavailable at once
  RedisTimeouts timeouts;
};

class RedisSink : public Sink {
 public:
  // kInvalid: the URI is wrong. Connects at the first call.
  static Result<std::unique_ptr<RedisSink>> open(TaskLoop& loop, const std::string& uri, RedisSinkOptions options);
  ~RedisSink() override;

  void claim(SinkIdentity identity, bool take_over, std::move_only_function<void(Status)> done) override;
  void purge(SinkIdentity identity, std::move_only_function<void(Status)> done) override;
  void publish(SinkIdentity identity, Publication publication,
               std::move_only_function<void(Result<PublishOutcome>)> done) override;
  void end_round(SinkIdentity identity, RoundEnd end,
                 std::move_only_function<void(Result<PublishOutcome>)> done) override;

 private:
  using PublishDone = std::move_only_function<void(Result<PublishOutcome>)>;
  // Publications that the thread has not begun.
  struct Group {
    SinkIdentity identity;
    std::vector<Publication> publications;
    std::vector<PublishDone> done;
  };

  RedisSink(TaskLoop& loop, RedisAddress address, RedisSinkOptions options);
  // Whether one more call may wait; where not, it is answered so.
  template <typename T>
  bool admit(std::move_only_function<void(T)>& done);
  template <typename T, typename Work>
  void run(Work work, std::move_only_function<void(T)> done);
  void publish_group(const std::shared_ptr<Group>& group);

  // Constant after construction. The thread is destroyed first: it uses the writer.
  const size_t max_calls_;
  std::unique_ptr<RedisWriter> writer_;
  std::unique_ptr<WorkerThread> thread_;

  size_t calls_ = 0;  // owned by the loop: those that are not answered
  std::mutex mutex_;
  std::shared_ptr<Group> open_;  // guarded by mutex_: the newest call, if it is one that others may join
};

}  // namespace millrace
