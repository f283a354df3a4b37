// QueryRouter: takes a query to the executors that own its keys and puts their answers together. A query that is
// under way when owners change is asked again; each has a deadline, and their number is bounded.
//
// Lives on the master's loop.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/runtime/lifetime.h"
#include "common/seams/clock.h"
#include "common/seams/task_loop.h"
#include "wire_types.h"

namespace millrace {

class QueryRouter {
 public:
  struct Answer {
    BatchId batch;
    std::vector<wire::QueryEntry> entries;  // in the order of the keys; for a rank, the highest first
  };
  using Done = std::move_only_function<void(Result<Answer>)>;
  struct Hooks {
    std::function<void(ProcessId, wire::Query)> send;
    // The owner of a key, or of the rank (no key). kNoProcess: nobody now.
    std::function<ProcessId(const std::string*)> owner;
    // The batch that queries are answered as of, or none while that is not known.
    std::function<std::optional<BatchId>()> applied;
  };

  QueryRouter(TaskLoop& loop, const Clock& clock, Hooks hooks);

  // Values of keys as of the applied batch, not before `at_least`.
  void get(size_t table, std::vector<std::string> keys, BatchId at_least, Done done);
  // The first n of the newest rank, not of a batch before `at_least` or before the last one answered.
  void top(size_t table, int32_t n, BatchId at_least, Done done);

  // Of a key of an index: its value, and behind it the first n members behind `after`.
  void docs(size_t table, std::string key, int32_t n, std::optional<wire::IndexMember> after, BatchId at_least,
            Done done);

  void on_reply(ProcessId from, const wire::QueryReply& reply);
  // The applied batch rose.
  void on_applied();
  // Owners changed: what was asked may never be answered.
  void on_reassigned();
  // Answers everything with this error.
  void fail_all(const Error& error);

 private:
  struct Pending {
    size_t table = 0;               // of the job's plan
    std::vector<std::string> keys;  // empty: a rank
    int32_t top = 0;
    int32_t members = 0;  // > 0: of the one key
    std::optional<wire::IndexMember> after;
    BatchId at_least;
    MonotonicTime deadline;
    Done done;
    // Of the present try.
    bool asked = false;
    BatchId at;
    size_t missing = 0;  // answers
    std::vector<wire::QueryEntry> entries;
    std::map<int64_t, std::vector<size_t>> parts;  // sub-query id -> indices of keys
  };

  void add(Pending pending);
  void ask(int64_t id, Pending& pending);
  void finish(int64_t id, Result<Answer> result);
  void sweep();

  static constexpr size_t kMaxPending = 10'000;
  static constexpr Duration kTimeLimit = std::chrono::seconds(10);

  TaskLoop& loop_;      // outlives this
  const Clock& clock_;  // outlives this
  const Hooks hooks_;

  std::map<int64_t, Pending> pending_;
  std::map<int64_t, int64_t> parts_;  // sub-query id -> query id
  int64_t next_id_ = 1;
  std::map<size_t, BatchId> last_rank_;  // of the answers given, by table
  bool sweeping_ = false;
  Lifetime lifetime_;
};

}  // namespace millrace
