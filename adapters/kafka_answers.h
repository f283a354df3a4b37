// What a direct reader does next, decided from what a broker answered. Pure functions: facts in, a step out; whoever
// asks keeps time, sends and tells people.
#pragma once

#include <cstdint>
#include <optional>

#include "adapters/kafka_messages.h"
#include "common/base/ids.h"
#include "common/base/time.h"

namespace millrace {

// For so long a broker may not have heard yet what became of a topic.
inline constexpr Duration kBrokersLag = std::chrono::seconds(2);

enum class FetchStep {
  kUse,                // no error
  kAgainWithoutEpoch,  // ask again, and never again with the epoch of the last record: this leader knows no epochs
  kAskWhoLeads,        // ask for metadata, pause, go on as judge_leader says
  kPause,              // pause, ask again
  kReconnect,          // ask again on a new connection
  kFallBack,           // librdkafka may be able to read this, or from there
  kRefused,            // final, kInvalid: no permission
  kGone,               // final, kDataLost: the offset is not in the log any more
  kCorrupt,            // final, kCorrupt: the broker finds its own log damaged
};

struct FetchFacts {
  bool sent_last_epoch = false;
  bool sent_leader_epoch = false;
  int same_errors = 1;             // in a row, this one included
  int32_t preferred_replica = -1;  // that the answer named instead of records
};

// `error` of the whole answer or, if that is 0, of the partition.
FetchStep next_step(int16_t error, const FetchFacts& facts);

enum class LeaderVerdict {
  kUse,         // its leader and its leader epoch
  kAskAnother,  // this broker lags behind: another one may know better. Nobody has to be told yet
  kNobody,      // nobody leads, or the topic is not there: ask again, and tell kUnavailable
  kFallBack,    // the topic has no id, so it cannot be fetched by its id
  kRefused,     // final, kInvalid: no permission, or no name of a topic
  kMadeAnew,    // final, kDataLost: another topic has the name
  kGone,        // final, kDataLost: there is no such topic or partition any more
};

struct LeaderFacts {
  LogPartition partition;
  std::optional<KafkaTopicId> expected;  // nullopt: the first answer's will be
  int32_t known_epoch = -1;              // of the leader that was used last
  Duration same_for{};                   // for how long answers have said the same as this one; 0: it is the first
  Duration topic_may_be_away{};          // topic.metadata.propagation.max.ms
};

LeaderVerdict judge_leader(const KafkaMetadata& answer, const LeaderFacts& facts);

}  // namespace millrace
