// QueryBoard: queries of the master that are under way: which lanes still owe an answer, or that wait for a newer
// rank. Bounded in number and time. Lives on the executor's loop.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "common/runtime/lifetime.h"
#include "common/seams/task_loop.h"
#include "worker/lane_messages.h"
#include "worker/rank_book.h"

namespace millrace {

class QueryBoard {
 public:
  static constexpr size_t kMaxOpen = 10'000;
  static constexpr size_t kMaxReplyBytes = 8 << 20;  // keys and values

  struct Hooks {
    std::function<void(const wire::QueryReply&)> reply;
    std::function<size_t(StatePartition)> lane_of;  // kNoLane: not owned
    std::function<void(size_t lane, LaneQuery)> ask;
    std::function<void(uint64_t id)> cancel;  // all lanes
  };
  static constexpr size_t kNoLane = SIZE_MAX;

  QueryBoard(TaskLoop& loop, int32_t state_partitions, const std::vector<RankBook>& ranks, Hooks hooks)
      : loop_(loop), state_partitions_(state_partitions), ranks_(ranks), hooks_(std::move(hooks)) {}

  void ask(const wire::Query& query);
  void on_answer(LaneAnswer answer);
  // A newer rank of some table is there.
  void on_rank();

 private:
  struct Open {
    int64_t wire_id = 0;
    BatchId at;
    size_t table = 0;  // of the job's plan
    int32_t top = 0;
    size_t lanes_waiting = 0;
    std::vector<wire::QueryEntry> entries;
    TaskLoop::TimerId timer = 0;
  };
  void ask_lanes(uint64_t id, Open& open, const wire::Query& query);
  bool try_rank(const Open& open);
  void end(uint64_t id, const std::string& problem);
  // Refuses what is larger than a message may be.
  void reply(wire::QueryReply reply);
  void refuse(int64_t wire_id, const std::string& problem);

  // Constant after construction.
  TaskLoop& loop_;  // outlives this
  const int32_t state_partitions_;
  const std::vector<RankBook>& ranks_;  // by table; outlives this
  const Hooks hooks_;

  // Owned by the loop.
  std::map<uint64_t, Open> open_;
  uint64_t last_id_ = 0;
  Lifetime lifetime_;
};

}  // namespace millrace
