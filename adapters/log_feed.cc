#include "adapters/log_feed.h"

#include <algorithm>
#include <optional>
#include <random>
#include <utility>
#include <vector>

#include "adapters/ingest_connection.h"
#include "adapters/kafka_producer.h"
#include "common/base/byte_order.h"
#include "common/model/address.h"
#include "common/model/hash.h"
#include "common/model/uri.h"

namespace millrace {
namespace {

constexpr int32_t kPartitions = 4;       // of a log that is not there yet
constexpr size_t kMostRecords = 50'000;  // of one append
constexpr auto kKafkaWait = std::chrono::seconds(5);

class IngestFeed final : public LogFeed {
 public:
  IngestFeed(std::string log, const HostPort& master) : log_(std::move(log)), connection_(master) {
    std::random_device random;
    own_producer_ = producer_id_of(uint64_t{random()} << 32 | random());
  }

  Status append(std::span<const std::string_view> records, uint64_t key) override {
    for (; slices_done_ * kMostRecords < records.size(); ++slices_done_) {
      const size_t begin = slices_done_ * kMostRecords;
      Status stored = append_slice(records.subspan(begin, std::min(kMostRecords, records.size() - begin)), key);
      if (!stored) {
        opened_ = false;  // whoever answers next may not know the log
        return fail(ErrorCode::kUnavailable, "cannot append to log://" + log_ + ": " + stored.error().message);
      }
    }
    slices_done_ = 0;
    return {};
  }

 private:
  // What has no key is numbered by this feed alone.
  Status append_slice(std::span<const std::string_view> records, uint64_t key) {
    if (!opened_) {
      const Result<int32_t> partitions = connection_.open_log(log_, kPartitions);
      if (!partitions) return std::unexpected(partitions.error());
      sequences_.resize(static_cast<size_t>(std::max(*partitions, 1)));
      opened_ = true;
    }
    AppendIdentity identity{own_producer_, sequences_[next_] + 1};
    size_t partition = next_;
    if (key != 0) {
      std::string name(16, '\0');
      store_little(name.data(), key);
      store_little(name.data() + 8, uint64_t{slices_done_});
      const uint64_t number = hash_of(name);
      partition = number % sequences_.size();
      identity = {producer_id_of(number), 1};
    }
    const Result<OffsetRange> stored = connection_.append(log_, LogPartition(static_cast<int32_t>(partition)),
                                                          {records.begin(), records.end()}, {}, identity);
    if (!stored) return std::unexpected(stored.error());
    if (key != 0) return {};
    ++sequences_[next_];
    next_ = (next_ + 1) % sequences_.size();
    return {};
  }

  const std::string log_;
  int64_t own_producer_ = 0;

  IngestConnection connection_;
  bool opened_ = false;
  std::vector<int64_t> sequences_;  // by partition: the newest of this feed's own
  size_t next_ = 0;                 // partition
  size_t slices_done_ = 0;          // of the append that is under way or to be repeated
};

class KafkaFeed final : public LogFeed {
 public:
  explicit KafkaFeed(KafkaOptions options) : options_(std::move(options)) {
    // Whoever repeats a record that is only late doubles it.
    if (!options_.config.contains("delivery.timeout.ms")) options_.config.try_emplace("message.timeout.ms", "0");
  }

  Status append(std::span<const std::string_view> records, uint64_t) override {
    if (producer_ == nullptr) {
      auto producer = KafkaProducer::open(options_, kKafkaWait);
      if (!producer) return std::unexpected(producer.error());
      producer_ = std::move(*producer);
      queued_ = 0;
    }
    for (; queued_ < records.size(); ++queued_) {
      if (Status taken = producer_->append(records[queued_]); !taken) return give_up(taken.error());
    }
    if (Status flushed = producer_->flush(kKafkaWait); !flushed) {
      if (flushed.error().code == ErrorCode::kTimeout) return flushed;
      return give_up(flushed.error());
    }
    queued_ = 0;
    return {};
  }

 private:
  Status give_up(Error error) {
    producer_.reset();
    return std::unexpected(std::move(error));
  }

  KafkaOptions options_;
  std::unique_ptr<KafkaProducer> producer_;  // null: none
  size_t queued_ = 0;                        // records of the append that is under way or to be repeated
};

}  // namespace

Result<std::unique_ptr<LogFeed>> open_log_feed(const LogFeedTarget& target) {
  const Result<Uri> uri = parse_uri(target.uri);
  if (!uri) return std::unexpected(uri.error());
  if (uri->scheme == "kafka") {
    return std::make_unique<KafkaFeed>(KafkaOptions{uri->authority, uri->path, target.config});
  }
  const auto master = parse_address("the master's --api", target.api);
  if (!master) return std::unexpected(master.error());
  return std::make_unique<IngestFeed>(uri->authority, *master);
}

}  // namespace millrace
