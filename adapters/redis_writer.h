// RedisWriter: what the thread of the Redis sink does: the calls of the Sink seam, blocking, as script calls over one
// connection. Owned and used by that thread, except interrupt().
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
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
  // The outcome of each.
  std::vector<Result<PublishOutcome>> publish(const SinkIdentity& identity, std::span<const Publication> publications);
  Result<PublishOutcome> end_round(const SinkIdentity& identity, const RoundEnd& end);

  // Thread-safe: makes what is under way fail soon.
  void interrupt() { connection_.interrupt(); }

 private:
  enum Script : size_t { kPublishScript, kEndRoundScript, kClaimScript, kPurgeScript, kClearScript };

  // One try of a publication.
  struct Attempt {
    const SinkIdentity& identity;
    const Publication& publication;
    uint64_t number;
    const std::vector<SinkEntry>* entries;  // what the chunks are cut from, of whatever table
    int64_t chunks = 0;                     // sent so far
  };
  // What one call of the script writes of a publication.
  struct Part {
    const Publication& publication;
    std::span<const SinkEntry> entries;
    uint64_t attempt;
    int64_t chunk;
    bool last;
  };
  // Up to where calls are made of publications: an entry of one, and how many chunks of that are sent.
  struct Cut {
    size_t publication = 0;
    size_t entry = 0;
    int64_t chunk = 0;
  };
  // A call under way: its parts are of publications that follow each other.
  struct Call {
    size_t first = 0;
    size_t parts = 0;
  };
  struct Holding;
  using Scores = std::unordered_map<std::string, double>;
  // The ranks that this process has written last, to send only what changed; no round: none.
  struct WrittenRanks {
    std::string round;
    std::map<std::string, Scores> scores;  // by rank, since an upgrade gives tables other numbers
  };

  // Runs `step` with a connection; once more where the connection proved broken or the scripts are unknown.
  template <typename T, typename Step>
  Result<T> with_connection(Step step);
  template <typename Step>
  Status repeated(const SinkIdentity& identity, Step step);
  Result<Holding> find_holding(const SinkIdentity& identity);
  Status clear_objects(const SinkIdentity& identity, const Holding& holding);
  Status claim_once(const SinkIdentity& identity, bool take_over, bool& again);
  Status purge_once(const SinkIdentity& identity, bool& again);
  Status publish_all(const SinkIdentity& identity, std::span<const Publication> publications,
                     std::span<Result<PublishOutcome>> outcomes);
  Status publish_alone(const SinkIdentity& identity, const Publication& publication, Result<PublishOutcome>& outcome);
  Status publish_together(const SinkIdentity& identity, std::span<const Publication> publications,
                          std::span<Result<PublishOutcome>> outcomes);
  Call append_call(const SinkIdentity& identity, std::span<const Publication> publications, Cut& cut);
  Result<PublishOutcome> publish_once(const SinkIdentity& identity, const Publication& publication);
  void append_chunk(Attempt& attempt, size_t begin, size_t end, bool last);
  void append_parts(const SinkIdentity& identity, std::span<const Part> parts);
  // The code of the next answer; another job's keys are kExists.
  Result<long long> receive_code(const std::string& job_name);
  Result<std::vector<long long>> receive_codes(const std::string& job_name, size_t parts);
  [[nodiscard]] Result<PublishOutcome> outcome_of(long long code) const;
  Result<PublishOutcome> send_entries(Attempt& attempt);
  Result<std::vector<SinkEntry>> find_leftovers(const Attempt& attempt);
  template <typename Function>
  Status walk_fields(const std::string& hash, Function function);
  Result<PublishOutcome> end_round_once(const SinkIdentity& identity, const RoundEnd& end, bool whole_ranks,
                                        bool& rank_unknown);
  static void add_rank(const std::vector<SinkEntry>& rank, const Scores& written, Scores& next,
                       std::vector<std::string>& counts, std::vector<std::string>& changes);
  [[nodiscard]] Error describe_other_job(const std::string& job_name, const std::string& job) const;

  // Constant after construction.
  const std::string place_;
  const RedisSinkOptions options_;

  RedisConnection connection_;
  uint64_t attempts_ = 0;
  std::map<JobId, WrittenRanks> ranks_;
};

}  // namespace millrace
