#include "adapters/kafka_once_writer.h"

#include <pthread.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <iterator>
#include <random>
#include <set>
#include <utility>

#include "common/model/hash.h"

namespace millrace {
namespace {

constexpr size_t kMostTransactionRequests = 2'000;
constexpr size_t kMostTransactionBytes = 4 << 20;
constexpr Duration kOwnerPatience = std::chrono::seconds(3);
constexpr Duration kFirstPause = std::chrono::milliseconds(100);
constexpr Duration kLongestPause = std::chrono::seconds(2);
// Whoever has put out one that came to its commits is to come to its own.
constexpr Duration kPoliteness = std::chrono::milliseconds(500);
// librdkafka does not know it of a record whose acknowledgement was lost.
constexpr char kPlaceUnknown[] = "the broker has not said where a record is";
constexpr char kWaitedTooLong[] = "it has waited too long for its turn";
constexpr size_t kRecordsTopic = 0;
constexpr size_t kKeysTopic = 1;

// A transaction whose owner has died holds up whoever reads what is committed, until its time is over.
const std::map<std::string, std::string> kOnceSettings = {
    {"linger.ms", "0"},
    {"log_level", "0"},  // to be put out by another gateway is no error here
    {"message.timeout.ms", "8000"},
    {"transaction.timeout.ms", "10000"},
    {"queue.buffering.max.messages", "1000000"},
    {"queue.buffering.max.kbytes", "262144"},
};

// As librdkafka has it, unless it is set. What is sent all the same is refused by the broker.
size_t most_record_bytes(const KafkaOptions& options) {
  size_t bytes = 1'000'000;
  const auto set = options.config.find("message.max.bytes");
  if (set != options.config.end()) std::from_chars(set->second.data(), set->second.data() + set->second.size(), bytes);
  return bytes;
}

// Users set these for requests without a key.
KafkaOptions without_times(KafkaOptions options) {
  for (const auto& [name, value] : kOnceSettings) options.config.erase(name);
  for (const char* const name : {"delivery.timeout.ms", "socket.timeout.ms", "queue.buffering.max.ms"}) {
    options.config.erase(name);
  }
  return options;
}

}  // namespace

struct KafkaOnceWriter::Owner {
  LogPartition partition;
  KafkaRequestKeys keys;
  std::unique_ptr<KafkaTransactions> producer;  // null: the partition is not ours, as far as we know
  size_t most = kMostTransactionRequests;       // at once; fewer while one is among them that the broker refuses
  bool has_committed = false;                   // since the last pause
  bool left_open = false;                       // perhaps a transaction, which holds readers up
  Duration longest_pause = kFirstPause;
  std::minstd_rand random{std::random_device()()};

  Duration next_pause() {
    const Duration least = std::exchange(has_committed, false) ? kPoliteness : Duration();
    const auto pause = least + Duration(std::uniform_int_distribution<Duration::rep>(0, longest_pause.count())(random));
    longest_pause = std::min(2 * longest_pause, kLongestPause);
    return pause;
  }
};

KafkaOnceWriter::KafkaOnceWriter(KafkaOptions options, size_t most_bytes)
    : options_(std::move(options)), most_record_bytes_(most_record_bytes(options_)), writes_(most_bytes) {}

KafkaOnceWriter::~KafkaOnceWriter() {
  stopping_ = true;
  for (const auto& lane : lanes_) lane->thread.request_stop();
  for (const auto& lane : lanes_) end(*lane);
}

void KafkaOnceWriter::end(Lane& lane) {
  lane.thread = {};
  for (const Request& request : lane.waiting) {
    writes_.failed(request.write,
                   request.may_be_stored
                       ? Error{ErrorCode::kTimeout, place() + "this gateway ends; the records may be "
                                                              "stored or not, send it again"}
                       : Error{ErrorCode::kUnavailable, place() + "this gateway ends; nothing of this is "
                                                                  "stored, send it again"});
  }
}

void KafkaOnceWriter::set_partitions(int32_t partitions) {
  const std::scoped_lock lock(mutex_);
  partitions_ = partitions;
  if (partitions == 0 && !missing_since_) missing_since_ = std::chrono::steady_clock::now();
  if (partitions != 0) missing_since_.reset();
  if (!lanes_.empty()) return;
  for (int32_t i = 0; i < partitions; ++i) lanes_.push_back(std::make_unique<Lane>());
}

void KafkaOnceWriter::write(WriteRequest request, RecordWriter::Done done) {
  Lane* lane = nullptr;
  LogPartition partition;
  {
    std::unique_lock lock(mutex_);
    const std::string keys = "topic '" + topic_of_keys(options_) + "'";
    std::optional<Error> refused;
    if (!partitions_ || (lanes_.empty() && std::chrono::steady_clock::now() - *missing_since_ < kNewTopicTime)) {
      refused = {ErrorCode::kUnavailable, place() + "whether there is a " + keys +
                                              " is not known yet; nothing of this is stored, send it again later"};
    } else if (lanes_.empty()) {
      refused = {ErrorCode::kInvalid,
                 place() + "a request with an Idempotency-Key needs " + keys +
                     " there, in which keys are kept: create it (kafka-topics.sh --create --topic " +
                     topic_of_keys(options_) + " --partitions 4), or send requests without a key"};
    } else if (lanes_.size() != static_cast<size_t>(*partitions_)) {
      refused = {ErrorCode::kUnavailable,
                 place() + keys + " had " + std::to_string(lanes_.size()) +
                     " partitions when this gateway began, and has " + std::to_string(*partitions_) +
                     " now, so keys would be looked for in the wrong one; restart all gateways "
                     "of this log together"};
    }
    for (const KeyedRecord& record : request.records) {
      if (record.value.size() + (record.key ? record.key->size() : 0) > most_record_bytes_) {
        refused = explain(RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, "");
      }
    }
    if (refused) {
      lock.unlock();
      return done(std::unexpected(std::move(*refused)));
    }
    partition = LogPartition(static_cast<int32_t>(hash_of(request.idempotency_key) % lanes_.size()));
    lane = lanes_[static_cast<size_t>(partition.value())].get();
  }
  WritesUnderWay::Write* const write =
      writes_.begin(WritesUnderWay::bytes_of(request) + request.idempotency_key.size(), 1, std::move(done));
  if (write == nullptr) return;
  const std::scoped_lock lock(lane->mutex);
  lane->waiting.push_back({.request = std::move(request), .write = write});
  if (!lane->thread.joinable()) {
    lane->thread =
        std::jthread([this, lane, partition](const std::stop_token& stop) { serve(*lane, partition, stop); });
  }
  lane->changed.notify_one();
}

void KafkaOnceWriter::serve(Lane& lane, LogPartition partition, const std::stop_token& stop) {
  pthread_setname_np(pthread_self(), "kafka-once");
  KafkaOptions keys = options_;
  keys.topic = topic_of_keys(options_);
  Owner owner{.partition = partition,
              .keys = KafkaRequestKeys({.topic = std::move(keys), .partition = partition}, stopping_),
              .producer = nullptr};
  std::string why = kWaitedTooLong;
  while (true) {
    {
      std::unique_lock lock(lane.mutex);
      lane.changed.wait(lock, stop, [&] { return !lane.waiting.empty() || owner.left_open; });
    }
    if (stop.stop_requested()) break;
    answer_late(lane, why);
    if (owner.producer == nullptr) {
      if (const Status taken = take_partition(owner); !taken) {
        why = taken.error().message;
        pause(lane, stop, owner.next_pause());
        continue;
      }
      owner.left_open = false;
      answer_late(lane, kWaitedTooLong);
    }
    std::vector<Request> batch = take_requests(lane, owner);
    if (batch.empty()) continue;
    const Status stored = store(owner, batch);
    if (!stored) {
      why = stored.error().message;
      give_back(lane, std::move(batch), stored.error(), owner);
      if (stored.error().code != ErrorCode::kInvalid) pause(lane, stop, owner.next_pause());
      continue;
    }
    const Time now = std::chrono::steady_clock::now();
    for (Request& request : batch) {
      writes_.stored(request.write, request.places);
      owner.keys.add(std::move(request.request.idempotency_key), std::move(request.places), now);
    }
    owner.longest_pause = kFirstPause;
    owner.has_committed = true;
    owner.most = std::min(2 * owner.most, kMostTransactionRequests);
    if (!owner.producer->may_go_on()) owner.producer = nullptr;
    why = kWaitedTooLong;
  }
  if (!owner.left_open) return;
  const std::atomic<bool> never = false;
  (void)make_producer(never)->start(id_of(owner.partition), kOnceSettings);
}

void KafkaOnceWriter::pause(Lane& lane, const std::stop_token& stop, Duration most) {
  std::unique_lock lock(lane.mutex);
  lane.changed.wait_for(lock, stop, most, [] { return false; });
}

std::string KafkaOnceWriter::id_of(LogPartition partition) const {
  return "millrace-" + topic_of_keys(options_) + "-" + std::to_string(partition.value());
}

std::unique_ptr<KafkaTransactions> KafkaOnceWriter::make_producer(const std::atomic<bool>& stopping) const {
  return std::make_unique<KafkaTransactions>(
      without_times(options_), std::vector{options_.topic, topic_of_keys(options_)},
      [this](rd_kafka_resp_err_t error, const std::string& text) { return explain(error, text); }, kOwnerPatience,
      stopping);
}

// From here on nobody else writes keys of this partition, and all that were written are known.
Status KafkaOnceWriter::take_partition(Owner& owner) {
  auto producer = make_producer(stopping_);
  if (Status started = producer->start(id_of(owner.partition), kOnceSettings); !started) return started;
  const Result<Offset> fence = set_fence(*producer, owner.partition);
  if (!fence) return std::unexpected(fence.error());
  if (Status known = owner.keys.catch_up(kOwnerPatience, *fence); !known) return known;

  owner.producer = std::move(producer);
  return {};
}

// A record behind all that former owners have committed.
Result<Offset> KafkaOnceWriter::set_fence(KafkaTransactions& producer, LogPartition partition) {
  WrittenRange written;
  if (Status begun = producer.begin(); !begun) return std::unexpected(begun.error());
  const KafkaTransactions::Record fence{
      .key = "", .value = KafkaRequestKeys::kFence, .partition = partition, .written = &written};
  if (Status given = producer.give(kKeysTopic, fence); !given) return std::unexpected(given.error());
  if (Status delivered = producer.deliver(); !delivered) return std::unexpected(delivered.error());
  if (Status committed = producer.commit(); !committed) return std::unexpected(committed.error());
  if (written.first.value() < 0) return fail(ErrorCode::kUnavailable, kPlaceUnknown);
  if (!producer.may_go_on()) return fail(ErrorCode::kUnavailable, "the broker takes too long for a transaction");
  return written.first;
}

// The next ones of different keys. Those that are stored already are answered.
std::vector<KafkaOnceWriter::Request> KafkaOnceWriter::take_requests(Lane& lane, Owner& owner) {
  owner.keys.forget_old(std::chrono::steady_clock::now());
  std::vector<Request> batch;
  std::vector<Request> known;
  std::vector<Request> refused;
  std::set<std::string_view> keys;  // of the batch
  size_t bytes = 0;
  {
    const std::scoped_lock lock(lane.mutex);
    batch.reserve(std::min(owner.most, lane.waiting.size()));  // so that keys stay where they are
    while (!lane.waiting.empty() && batch.size() < owner.most && bytes < kMostTransactionBytes) {
      Request& next = lane.waiting.front();
      if (const auto* const places = owner.keys.find(next.request.idempotency_key)) {
        next.places = *places;
        known.push_back(std::move(next));
      } else if (owner.keys.full()) {
        refused.push_back(std::move(next));
      } else {
        if (keys.contains(next.request.idempotency_key)) break;
        bytes += WritesUnderWay::bytes_of(next.request);
        batch.push_back(std::move(next));
        keys.insert(batch.back().request.idempotency_key);
      }
      lane.waiting.pop_front();
    }
  }
  for (const Request& request : known) writes_.stored(request.write, request.places);
  for (const Request& request : refused) {
    writes_.failed(
        request.write,
        {ErrorCode::kUnavailable, place() + "as many keys as may be are remembered; nothing of this is stored, send it "
                                            "again later, or give the topic of keys more partitions"});
  }
  return batch;
}

// The places of records come with their delivery, so keys go behind them.
Status KafkaOnceWriter::store(Owner& owner, std::vector<Request>& batch) {
  KafkaTransactions& producer = *owner.producer;
  if (Status begun = producer.begin(); !begun) return begun;
  for (Request& request : batch) {
    request.places.assign(request.request.records.size(), {});
    for (size_t i = 0; i < request.places.size(); ++i) {
      const KeyedRecord& record = request.request.records[i];
      const KafkaTransactions::Record given{.key = record.key, .value = record.value, .written = &request.places[i]};
      if (Status status = producer.give(kRecordsTopic, given); !status) return status;
    }
  }
  if (Status delivered = producer.deliver(); !delivered) return delivered;
  for (Request& request : batch) {
    const bool told =
        std::ranges::all_of(request.places, [](const WrittenRange& one) { return one.first.value() >= 0; });
    if (!told) return fail(ErrorCode::kUnavailable, kPlaceUnknown);
    request.places = WritesUnderWay::joined(std::move(request.places));
    const std::string text = KafkaRequestKeys::to_text(request.places);
    if (Status given = producer.give(
            kKeysTopic, {.key = request.request.idempotency_key, .value = text, .partition = owner.partition});
        !given) {
      return given;
    }
  }
  for (Request& request : batch) request.may_be_stored = true;
  return producer.commit();
}

// What has become of them shows when the partition is taken anew.
void KafkaOnceWriter::give_back(Lane& lane, std::vector<Request> batch, const Error& error, Owner& owner) {
  owner.producer = nullptr;                            // it may still tell where records are
  owner.left_open = error.code != ErrorCode::kFenced;  // whoever has put us out has ended it
  if (error.code == ErrorCode::kInvalid && batch.size() == 1) {
    writes_.failed(batch.front().write, error);
    batch.clear();
  } else if (error.code == ErrorCode::kInvalid) {
    owner.most = batch.size() / 2;
  }
  const std::scoped_lock lock(lane.mutex);
  lane.waiting.insert(lane.waiting.begin(), std::make_move_iterator(batch.begin()),
                      std::make_move_iterator(batch.end()));
}

void KafkaOnceWriter::answer_late(Lane& lane, const std::string& why) {
  std::vector<Request> late;
  {
    const Time now = std::chrono::steady_clock::now();
    const std::scoped_lock lock(lane.mutex);
    while (!lane.waiting.empty() && now - lane.waiting.front().write->begin() >= kTimeout) {
      late.push_back(std::move(lane.waiting.front()));
      lane.waiting.pop_front();
    }
  }
  for (const Request& request : late) {
    if (request.may_be_stored) {
      writes_.failed(request.write, {ErrorCode::kTimeout, place() + why +
                                                              "; the records may be stored or not, send it "
                                                              "again with the same key"});
    } else {
      writes_.failed(request.write,
                     {ErrorCode::kUnavailable, place() + why + "; nothing of this is stored, send it again later"});
    }
  }
}

// Only the size of a record is the fault of whoever sent it.
Error KafkaOnceWriter::explain(rd_kafka_resp_err_t error, const std::string& text) const {
  switch (error) {
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
      return {
          ErrorCode::kInvalid,
          place() +
              "a record of this request is larger than message.max.bytes or the topic's max.message.bytes; nothing of "
              "this is stored"};
    case RD_KAFKA_RESP_ERR__FENCED:
    case RD_KAFKA_RESP_ERR_PRODUCER_FENCED:
    case RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH:
      return {ErrorCode::kFenced,
              "gateways take keys from each other; send requests with keys to one of them, or to one "
              "by the key"};
    case RD_KAFKA_RESP_ERR_INVALID_RECORD:
      return {ErrorCode::kInvalid, place() + text +
                                       "; the topic takes no such record, as a compacted one takes none "
                                       "without a key; nothing of this is stored"};
    case RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
      return {ErrorCode::kUnavailable, text + "; permit transactional ids that begin with millrace-" +
                                           topic_of_keys(options_) + ", and to write to that topic and read it"};
    default: return {ErrorCode::kUnavailable, text};
  }
}

}  // namespace millrace
