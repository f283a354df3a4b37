#include "adapters/kafka_messages.h"

#include <algorithm>
#include <charconv>

#include "adapters/kafka_wire.h"
#include "common/base/check.h"

namespace millrace {
namespace {

struct Api {
  int16_t key;
  int16_t version;
};
constexpr Api kFetch{1, 13};
constexpr Api kMetadata{3, 12};
constexpr Api kVersions{18, 3};

constexpr size_t kTopicIdBytes = sizeof(KafkaTopicId::bytes);
constexpr size_t kShortestTail = 3;  // tags of the partition, of the topic, of the answer

WireWriter begin_request(Api api, int32_t correlation, std::string_view client_id) {
  WireWriter writer;
  writer.integer(api.key);
  writer.integer(api.version);
  writer.integer(correlation);
  writer.integer(static_cast<int16_t>(client_id.size()));
  writer.bytes(client_id);
  writer.no_tags();
  return writer;
}

void read_correlation(WireReader& reader, int32_t expected) {
  if (reader.integer<int32_t>() != expected && reader.good()) reader.refuse();
}

void read_header(WireReader& reader, int32_t correlation) {
  read_correlation(reader, correlation);
  reader.skip_tags();
}

void write_topic_id(WireWriter& writer, const KafkaTopicId& id) {
  writer.bytes({id.bytes.data(), id.bytes.size()});
}

KafkaTopicId read_topic_id(WireReader& reader) {
  KafkaTopicId id;
  std::ranges::copy(reader.bytes(kTopicIdBytes), id.bytes.begin());
  return id;
}

void read_brokers(WireReader& reader, KafkaMetadata& metadata) {
  reader.compact_array([&] {
    KafkaMetadata::Broker& broker = metadata.brokers.emplace_back();
    broker.id = reader.integer<int32_t>();
    broker.host = reader.compact_string();
    broker.port = reader.integer<int32_t>();
    if (reader.good() && (broker.port < 1 || broker.port > UINT16_MAX)) reader.refuse();
    (void)reader.compact_string();  // rack
    reader.skip_tags();
  });
}

void skip_replicas(WireReader& reader) {
  for (int list = 0; list < 3; ++list) {
    reader.compact_array([&] { (void)reader.integer<int32_t>(); });
  }
}

void read_partitions(WireReader& reader, KafkaMetadata& metadata) {
  reader.compact_array([&] {
    KafkaMetadata::Partition& partition = metadata.partitions.emplace_back();
    partition.error = reader.integer<int16_t>();
    partition.id = LogPartition(reader.integer<int32_t>());
    partition.leader = reader.integer<int32_t>();
    partition.leader_epoch = reader.integer<int32_t>();
    skip_replicas(reader);
    reader.skip_tags();
  });
}

void read_topic(WireReader& reader, std::string_view name, KafkaMetadata& metadata) {
  metadata.error = reader.integer<int16_t>();
  if (reader.compact_string() != name && reader.good()) reader.refuse();
  metadata.topic = read_topic_id(reader);
  (void)reader.integer<int8_t>();  // internal
  read_partitions(reader, metadata);
  (void)reader.integer<int32_t>();  // permissions
  reader.skip_tags();
}

void read_aborted(WireReader& reader, FetchHead& head) {
  reader.compact_array([&] {
    AbortedTransaction& aborted = head.aborted.emplace_back();
    aborted.producer_id = reader.integer<int64_t>();
    aborted.first = Offset(reader.integer<int64_t>());
    reader.skip_tags();
  });
}

// The one topic and its one partition, which must be those that were asked for.
void read_partition_head(WireReader& reader, const FetchQuestion& question, FetchHead& head) {
  const KafkaTopicId topic = read_topic_id(reader);
  const uint32_t partitions = reader.compact_size();
  const LogPartition partition(reader.integer<int32_t>());
  if (reader.good() && (topic != question.topic || partitions != 1 || partition != question.partition)) reader.refuse();
  head.has_partition = true;
  head.partition_error = reader.integer<int16_t>();
  (void)reader.bytes(3 * sizeof(int64_t));  // high watermark, last stable offset, log start
  read_aborted(reader, head);
  head.preferred_replica = reader.integer<int32_t>();
  head.records_bytes = reader.compact_size();
}

DivergingEpoch read_diverging(WireReader& reader) {
  DivergingEpoch diverging;
  diverging.epoch = reader.integer<int32_t>();
  diverging.end = Offset(reader.integer<int64_t>());
  reader.skip_tags();
  return diverging;
}

}  // namespace

std::string KafkaTopicId::hex() const {
  return to_hex(load_big<uint64_t>(bytes.data())) + to_hex(load_big<uint64_t>(bytes.data() + sizeof(uint64_t)));
}

std::optional<KafkaTopicId> KafkaTopicId::from_hex(std::string_view text) {
  constexpr size_t kDigits = 2 * sizeof(uint64_t);
  KafkaTopicId id;
  if (text.size() != 2 * kDigits) return std::nullopt;
  for (const size_t half : {0, 1}) {
    uint64_t value = 0;
    const char* const begin = text.data() + half * kDigits;
    if (std::from_chars(begin, begin + kDigits, value, 16).ptr != begin + kDigits) return std::nullopt;
    store_big(id.bytes.data() + half * sizeof value, value);
  }
  return id.hex() == text ? std::optional(id) : std::nullopt;  // no other letters than hex() has
}

std::optional<size_t> frame_size(std::string_view begin, size_t most_bytes) {
  constexpr int32_t kShortestFrame = 5;
  const auto size = WireReader(begin).integer<int32_t>();
  if (size < kShortestFrame || static_cast<size_t>(size) > most_bytes) return std::nullopt;
  return static_cast<size_t>(size);
}

std::string versions_request(int32_t correlation, std::string_view client_id) {
  WireWriter writer = begin_request(kVersions, correlation, client_id);
  writer.compact_string("millrace");
  writer.compact_string(MILLRACE_VERSION);
  writer.no_tags();
  return writer.finish();
}

std::optional<KafkaVersions> parse_versions(std::string_view answer, int32_t correlation) {
  WireReader reader(answer);
  read_correlation(reader, correlation);
  const auto error = reader.integer<int16_t>();
  if (!reader.good()) return std::nullopt;
  KafkaVersions versions;
  if (error != 0) return versions;
  reader.compact_array([&] {
    const auto key = reader.integer<int16_t>();
    const auto least = reader.integer<int16_t>();
    const auto most = reader.integer<int16_t>();
    reader.skip_tags();
    const auto spoken = [&](Api api) { return key == api.key && least <= api.version && api.version <= most; };
    versions.metadata |= spoken(kMetadata);
    versions.fetch |= spoken(kFetch);
  });
  (void)reader.integer<int32_t>();  // throttle
  reader.skip_tags();
  return reader.at_end() ? std::optional(versions) : std::nullopt;
}

std::string metadata_request(std::string_view topic, int32_t correlation, std::string_view client_id) {
  WireWriter writer = begin_request(kMetadata, correlation, client_id);
  writer.compact_size(1);
  write_topic_id(writer, {});
  writer.compact_string(topic);
  writer.no_tags();
  writer.integer(int8_t{0});  // do not create it
  writer.integer(int8_t{0});  // do not tell permissions
  writer.no_tags();
  return writer.finish();
}

std::optional<KafkaMetadata> parse_metadata(std::string_view answer, int32_t correlation, std::string_view topic) {
  WireReader reader(answer);
  read_header(reader, correlation);
  KafkaMetadata metadata;
  metadata.throttle_ms = reader.integer<int32_t>();
  read_brokers(reader, metadata);
  (void)reader.compact_string();    // cluster
  (void)reader.integer<int32_t>();  // controller
  if (reader.compact_size() != 1) return std::nullopt;
  read_topic(reader, topic, metadata);
  reader.skip_tags();
  return reader.at_end() ? std::optional(std::move(metadata)) : std::nullopt;
}

std::string fetch_request(const FetchQuestion& question, int32_t correlation, std::string_view client_id) {
  WireWriter writer = begin_request(kFetch, correlation, client_id);
  writer.integer(int32_t{-1});  // no replica
  writer.integer(question.max_wait_ms);
  writer.integer(question.min_bytes);
  writer.integer(question.max_bytes);
  writer.integer(static_cast<int8_t>(question.committed ? 1 : 0));
  writer.integer(int32_t{0});  // no session
  writer.integer(int32_t{-1});
  writer.compact_size(1);
  write_topic_id(writer, question.topic);
  writer.compact_size(1);
  writer.integer(question.partition.value());
  writer.integer(question.leader_epoch);
  writer.integer(question.from.value());
  writer.integer(question.send_last_epoch ? question.last_epoch : -1);
  writer.integer(int64_t{-1});  // log start, which replicas tell
  writer.integer(question.max_bytes);
  writer.no_tags();
  writer.no_tags();
  writer.compact_size(0);     // nothing to forget
  writer.compact_string("");  // no rack
  writer.no_tags();
  return writer.finish();
}

std::expected<FetchHead, NoFetchHead> parse_fetch_head(std::string_view arrived, size_t frame_bytes,
                                                       const FetchQuestion& question, int32_t correlation) {
  CHECK_LE(arrived.size(), frame_bytes);
  WireReader reader(arrived);
  read_header(reader, correlation);
  FetchHead head;
  head.throttle_ms = reader.integer<int32_t>();
  head.error = reader.integer<int16_t>();
  (void)reader.integer<int32_t>();  // session
  const uint32_t topics = reader.compact_size();
  if (topics > 1) reader.refuse();
  if (topics == 1) read_partition_head(reader, question, head);
  if (reader.ran_out() && arrived.size() < frame_bytes) return std::unexpected(NoFetchHead::kMore);
  head.records_at = reader.position();
  const size_t shortest_tail = head.has_partition ? kShortestTail : 1;
  if (!reader.good() || frame_bytes - head.records_at < head.records_bytes + shortest_tail) {
    return std::unexpected(NoFetchHead::kBroken);
  }
  return head;
}

std::optional<FetchTail> parse_fetch_tail(std::string_view tail, const FetchHead& head) {
  WireReader reader(tail);
  FetchTail found;
  if (head.has_partition) {
    reader.tags([&](uint32_t tag, WireReader& value) {
      if (tag == 0) found.diverging = read_diverging(value);
    });
    reader.skip_tags();  // of the topic
  }
  reader.skip_tags();
  return reader.at_end() ? std::optional(found) : std::nullopt;
}

}  // namespace millrace
