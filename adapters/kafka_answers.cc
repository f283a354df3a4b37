#include "adapters/kafka_answers.h"

#include <algorithm>

namespace millrace {
namespace {

constexpr int kMostCorrupt = 3;

// Of Kafka's protocol; those that mean the same to a reader have one line.
enum KafkaCode : int16_t {
  kNone = 0,
  kOffsetOutOfRange = 1,
  kCorruptMessage = 2,
  kUnknownTopicOrPartition = 3,
  kLeaderNotAvailable = 5,
  kNotLeaderOrFollower = 6,
  kBrokerNotAvailable = 8,
  kReplicaNotAvailable = 9,
  kInvalidTopic = 17,
  kTopicAuthorizationFailed = 29,
  kClusterAuthorizationFailed = 31,
  kUnsupportedVersion = 35,
  kInvalidRequest = 42,
  kUnsupportedForMessageFormat = 43,
  kStorageError = 56,
  kFetchSessionIdNotFound = 70,
  kInvalidFetchSessionEpoch = 71,
  kFencedLeaderEpoch = 74,
  kUnknownLeaderEpoch = 75,
  kUnsupportedCompression = 76,
  kUnknownTopicId = 100,
  kInconsistentTopicId = 103,
  kFetchSessionTopicIdError = 106,
};

FetchStep after_offset_out_of_range(const FetchFacts& facts) {
  if (facts.sent_last_epoch) return FetchStep::kAgainWithoutEpoch;
  return facts.sent_leader_epoch ? FetchStep::kGone : FetchStep::kAskWhoLeads;
}

LeaderVerdict judge_absence(const LeaderFacts& facts) {
  if (facts.same_for >= facts.topic_may_be_away) return LeaderVerdict::kGone;
  return facts.same_for >= kBrokersLag ? LeaderVerdict::kNobody : LeaderVerdict::kAskAnother;
}

}  // namespace

FetchStep next_step(int16_t error, const FetchFacts& facts) {
  switch (error) {
    case kNone: return facts.preferred_replica < 0 ? FetchStep::kUse : FetchStep::kFallBack;
    case kOffsetOutOfRange: return after_offset_out_of_range(facts);
    case kCorruptMessage: return facts.same_errors < kMostCorrupt ? FetchStep::kPause : FetchStep::kCorrupt;
    case kUnknownTopicOrPartition:
    case kLeaderNotAvailable:
    case kNotLeaderOrFollower:
    case kBrokerNotAvailable:
    case kReplicaNotAvailable:
    case kStorageError:
    case kFencedLeaderEpoch:
    case kUnknownLeaderEpoch:
    case kUnknownTopicId:
    case kInconsistentTopicId: return FetchStep::kAskWhoLeads;
    case kTopicAuthorizationFailed:
    case kClusterAuthorizationFailed: return FetchStep::kRefused;
    case kUnsupportedVersion:
    case kInvalidRequest:
    case kUnsupportedForMessageFormat:
    case kUnsupportedCompression: return FetchStep::kFallBack;
    case kFetchSessionIdNotFound:
    case kInvalidFetchSessionEpoch:
    case kFetchSessionTopicIdError: return FetchStep::kReconnect;
    default: return FetchStep::kPause;  // It timed out, is not ready yet, or says what no reader is told.
  }
}

LeaderVerdict judge_leader(const KafkaMetadata& answer, const LeaderFacts& facts) {
  if (answer.error == kInvalidTopic || answer.error == kTopicAuthorizationFailed) return LeaderVerdict::kRefused;
  if (answer.error == kUnknownTopicOrPartition) return judge_absence(facts);
  if (answer.error != kNone) return LeaderVerdict::kNobody;
  if (answer.topic == KafkaTopicId{}) return LeaderVerdict::kFallBack;
  if (facts.expected && answer.topic != *facts.expected) {
    return facts.same_for >= kBrokersLag ? LeaderVerdict::kMadeAnew : LeaderVerdict::kAskAnother;
  }
  const auto partition = std::ranges::find(answer.partitions, facts.partition, &KafkaMetadata::Partition::id);
  if (partition == answer.partitions.end()) return judge_absence(facts);
  const auto leader = std::ranges::find(answer.brokers, partition->leader, &KafkaMetadata::Broker::id);
  if (partition->leader < 0 || leader == answer.brokers.end()) return LeaderVerdict::kNobody;
  if (partition->leader_epoch >= facts.known_epoch) return LeaderVerdict::kUse;
  return facts.same_for >= kBrokersLag ? LeaderVerdict::kNobody : LeaderVerdict::kAskAnother;
}

}  // namespace millrace
