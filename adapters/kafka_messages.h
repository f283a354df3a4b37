// What a direct reader and a Kafka broker say to each other: ApiVersions v3, Metadata v12 and Fetch v13, which brokers
// from 3.1 on speak. Pure functions: requests are written, answers are read where they lie, nothing is sent here.
//
// Each request and each answer is a frame: i32 size, then that many bytes. Requests come with their size in front;
// answers are given to the parsers without. Primitives (uvarint, compact, tags): adapters/kafka_wire.h.
//
//   header of a request    i16 api key, i16 version, i32 correlation id, i16 size and bytes of the client id, tags
//   header of an answer    i32 correlation id, tags (ApiVersions: no tags, since its asker knows no version yet)
//
// ApiVersions v3 (key 18): what does this broker speak?
//   request    compact string name and compact string version of the software, tags
//   answer     i16 error, array of {i16 key, i16 min, i16 max, tags}, i32 throttle ms, tags
//              A broker that does not know v3 answers as v0: i16 error 35, and more that is of no interest.
//
// Metadata v12 (key 3): who leads the partitions of a topic?
//   request    array of {uuid 0, compact string name, tags}, i8 create it 0, i8 show permissions 0, tags
//   answer     i32 throttle ms, array of brokers {i32 id, compact string host, i32 port, compact string rack, tags},
//              compact string cluster, i32 controller, array of topics {i16 error, compact string name, uuid,
//              i8 internal, array of partitions {i16 error, i32 partition, i32 leader (-1: none), i32 leader epoch,
//              arrays of i32: replicas, those in sync, those offline; tags}, i32 permissions, tags}, tags
//
// Fetch v13 (key 1): the record batches of one partition from an offset on. 80 bytes behind the header:
//    0  i32 replica -1                      42  array of one: i32 partition
//    4  i32 max wait ms                     47  i32 leader epoch, -1: not known
//    8  i32 min bytes                       51  i64 offset
//   12  i32 max bytes                       59  i32 epoch of the record before it, -1: not known
//   16  i8 isolation: 1 committed           63  i64 log start -1
//   17  i32 session 0, i32 its epoch -1     71  i32 max bytes, tags, tags
//   25  array of one: uuid of the topic     77  array of none (to forget), compact string rack "", tags
//   answer    head    i32 throttle ms, i16 error, i32 session; array of topics {uuid, array of partitions
//                     {i32 partition, i16 error, i64 high watermark, i64 last stable offset, i64 log start,
//                     array of aborted transactions {i64 producer, i64 first offset, tags}, i32 preferred replica,
//                     uvarint bytes of records + 1
//             records as they lie in the broker's segment; the last batch may be cut off
//             tail    tags: 0 diverging epoch {i32 epoch, i64 end offset, tags}}, tags}, tags
//   With an error of the whole, or beyond a quota (throttle > 0), there may be no topic: head and tail are one.
#pragma once

#include <array>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/ids.h"

namespace millrace {

// Tells a topic from one of the same name made anew.
struct KafkaTopicId {
  std::array<char, 16> bytes{};  // all 0: none
  bool operator==(const KafkaTopicId&) const = default;
  [[nodiscard]] std::string hex() const;
  static std::optional<KafkaTopicId> from_hex(std::string_view text);  // nullopt: it is none
};

// What follows the first four bytes of a frame, which are `begin`'s. nullopt: too little for an answer, or more than
// `most_bytes`.
std::optional<size_t> frame_size(std::string_view begin, size_t most_bytes);

// `client_id` of all requests: at most 32,767 bytes.
std::string versions_request(int32_t correlation, std::string_view client_id);

// Whether a broker speaks the versions that are used here.
struct KafkaVersions {
  bool metadata = false;
  bool fetch = false;
};

// nullopt of this and the other parsers: malformed, or the answer to another question.
std::optional<KafkaVersions> parse_versions(std::string_view answer, int32_t correlation);

std::string metadata_request(std::string_view topic, int32_t correlation, std::string_view client_id);

struct KafkaMetadata {
  struct Broker {
    int32_t id = 0;
    std::string host;
    int32_t port = 0;
  };
  struct Partition {
    LogPartition id;
    int16_t error = 0;
    int32_t leader = -1;  // -1: none
    int32_t leader_epoch = -1;
  };
  int32_t throttle_ms = 0;
  std::vector<Broker> brokers;
  int16_t error = 0;  // of the topic
  KafkaTopicId topic;
  std::vector<Partition> partitions;
};

std::optional<KafkaMetadata> parse_metadata(std::string_view answer, int32_t correlation, std::string_view topic);

struct FetchQuestion {
  KafkaTopicId topic;
  LogPartition partition;
  int32_t leader_epoch = -1;
  Offset from;
  int32_t last_epoch = -1;      // of the record before `from`; -1: not known
  bool send_last_epoch = true;  // no: to a leader that knows no epochs
  int32_t max_wait_ms = 0;
  int32_t min_bytes = 1;
  int32_t max_bytes = 0;
  bool committed = true;
};

std::string fetch_request(const FetchQuestion& question, int32_t correlation, std::string_view client_id);

struct AbortedTransaction {
  int64_t producer_id = -1;
  Offset first;
  bool operator==(const AbortedTransaction&) const = default;
};

// What stands before the records. `records_at` is their position in the frame, behind its size.
struct FetchHead {
  int32_t throttle_ms = 0;
  int16_t error = 0;  // of the whole request
  bool has_partition = false;
  int16_t partition_error = 0;
  std::vector<AbortedTransaction> aborted;  // in no promised order; some may lie outside of the records
  int32_t preferred_replica = -1;           // where a broker with a rule of its own wants its records to be read
  size_t records_at = 0;
  size_t records_bytes = 0;
};

enum class NoFetchHead { kMore, kBroken };

// Tries the bytes of a frame that have arrived, from its first one on; begins anew each time, so whoever waits for more
// of a long head had better wait for twice as much. What it accepts answers `question`, and its records and the
// shortest tail fit into the frame.
std::expected<FetchHead, NoFetchHead> parse_fetch_head(std::string_view arrived, size_t frame_bytes,
                                                       const FetchQuestion& question, int32_t correlation);

// The epoch that was asked with ended before the offset that was asked for: the log was cut back.
struct DivergingEpoch {
  int32_t epoch = -1;
  Offset end;
};

struct FetchTail {
  std::optional<DivergingEpoch> diverging;
};

// `tail` is all of the frame that stands behind the records.
std::optional<FetchTail> parse_fetch_tail(std::string_view tail, const FetchHead& head);

}  // namespace millrace
