// RedisWriter: what the thread of the Redis sink does: the calls of the Sink seam, blocking, as script calls over one
// connection. Owned and used by that thread, except interrupt().
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "adapters/redis_connection.h"
#include "adapters/redis_sink.h"
#include "common/seams/sink.h"

namespace millrace {

class RedisWriter {
 public:
  RedisWriter(RedisAddress address, RedisSinkOptions options);

  Status claim(const SinkIdentity& identity, bool take_over);
  Status purge(const SinkIdentity& identity);
  Result<PublishOutcome> publish(const SinkIdentity& identity, const Publication& publication);
  Result<PublishOutcome> end_round(const SinkIdentity& identity, const RoundEnd& end);

  // Thread-safe: makes what is under way fail soon.
  void interrupt() { connection_.interrupt(); }

 private:
  struct Attempt;
  // The rank that this process has written last, to send only what changed.
  struct WrittenRank {
    std::string round;
    std::map<std::string, double> scores;
  };

  // Runs `step` with a connection; once more where the connection proved broken or the scripts are unknown.
  template <typename T, typename Step>
  Result<T> with_connection(Step step);
  Result<std::vector<std::string>> keys_of_name(const SinkIdentity& identity, std::string& stored_job);
  Status claim_once(const SinkIdentity& identity, bool take_over, bool& again);
  Result<PublishOutcome> publish_once(const SinkIdentity& identity, const Publication& publication);
  void append_chunk(Attempt& attempt, size_t begin, size_t end, bool last);
  // The code of the next chunk's answer; another job's keys are kExists.
  Result<long long> receive_code(const std::string& job_name);
  Result<PublishOutcome> send_entries(Attempt& attempt);
  Result<std::vector<SinkEntry>> find_leftovers(const Attempt& attempt);
  Result<PublishOutcome> end_round_once(const SinkIdentity& identity, const RoundEnd& end, bool whole_rank,
                                        bool& rank_unknown);
  [[nodiscard]] Error describe_other_job(const std::string& job_name, const std::string& job) const;

  // Constant after construction.
  const std::string place_;
  const RedisSinkOptions options_;

  RedisConnection connection_;
  uint64_t attempts_ = 0;
  std::map<JobId, WrittenRank> ranks_;
};

}  // namespace millrace
