#include "adapters/kafka_output.h"

#include <charconv>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "adapters/kafka_config.h"
#include "adapters/kafka_producer.h"
#include "common/model/output_lines.h"
#include "common/model/uri.h"

namespace millrace {
namespace {

using SteadyTime = std::chrono::steady_clock::time_point;

constexpr int kStepMs = 500;
// Whoever submits waits for a claim. The first transaction of a broker makes it create topics of its own.
constexpr Duration kTopicTime = std::chrono::milliseconds(1500);
constexpr Duration kClaimTime = std::chrono::seconds(10);
// So long nothing goes on before that is told, and begun anew.
constexpr Duration kPatience = std::chrono::seconds(10);

// - A transaction may take as long as a large batch does on a slow broker; one whose owner is gone ends when the next
//   one enters.
// - A broker ends a transaction after it has answered, and the next one is tried until then: each batch waits for that.
// - rd_kafka_send_offsets_to_transaction() of 2.0 looks three times for a group's coordinator, and then waits, without
//   end, for a connection to come or go. Where there is none yet, or it moves, that is when an idle one is closed.
const std::map<std::string, std::string> kOurs = {
    {"client.id", "millrace"},           {"linger.ms", "5"},
    {"batch.size", "1000000"},           {"queue.buffering.max.kbytes", "65536"},
    {"message.timeout.ms", "600000"},    {"transaction.timeout.ms", "600000"},
    {"partitioner", "murmur2_random"},   {"log.connection.close", "false"},
    {"retry.backoff.ms", "20"},          {"reconnect.backoff.max.ms", "1000"},
    {"connections.max.idle.ms", "3000"},
};

// Of what is committed: also while a transaction is open, which a reader of what is settled waits for.
constexpr char kLast[] = "read_uncommitted";
constexpr char kSettled[] = "read_committed";

// What makes a batch be there once.
constexpr const char* kNeeded[] = {"acks", "enable.idempotence", "group.id", "isolation.level", "transactional.id"};

struct KafkaOutputDeleter {
  void operator()(rd_kafka_error_t* error) const { rd_kafka_error_destroy(error); }
  void operator()(rd_kafka_consumer_group_metadata_t* group) const { rd_kafka_consumer_group_metadata_destroy(group); }
  void operator()(rd_kafka_t* client) const { rd_kafka_destroy(client); }
};
using KafkaError = std::unique_ptr<rd_kafka_error_t, KafkaOutputDeleter>;
using KafkaGroup = std::unique_ptr<rd_kafka_consumer_group_metadata_t, KafkaOutputDeleter>;
using KafkaClient = std::unique_ptr<rd_kafka_t, KafkaOutputDeleter>;

Result<KafkaClient> make_client(rd_kafka_type_t type, KafkaConf conf) {
  char text[512] = {};
  KafkaClient client(rd_kafka_new(type, conf.get(), text, sizeof text));
  if (client == nullptr) {
    return fail(ErrorCode::kInvalid,
                std::string("librdkafka does not start: ") + text + "; correct the Kafka settings in --output-config");
  }
  conf.release();  // NOLINT: taken over by the client
  return client;
}

std::string place_of(const KafkaOptions& options) {
  return "topic '" + options.topic + "' on " + options.brokers;
}

// What cannot be delivered, ever, is no reason to try again.
std::unexpected<Error> explain(const KafkaOptions& options, rd_kafka_resp_err_t error, const std::string& text) {
  const std::string place = place_of(options);
  switch (error) {
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
      return fail(ErrorCode::kInvalid, place +
                                           " takes no line of that size; raise its max.message.bytes, and "
                                           "message.max.bytes in --output-config, and submit the job again");
    case RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT:
      return fail(ErrorCode::kInvalid, place +
                                           " permits no transactions that long; lower transaction.timeout.ms and "
                                           "message.timeout.ms in --output-config, or raise the broker's "
                                           "transaction.max.timeout.ms");
    case RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
      return fail(ErrorCode::kUnavailable, "cannot append to " + place + ": " + text +
                                               "; permit transactional ids and groups that begin with millrace-");
    default: break;
  }
  const ErrorCode code = kafka_error_code(error);
  return fail(code == ErrorCode::kInvalid ? code : ErrorCode::kUnavailable,
              "cannot append to " + place + ": " + text +
                  (code == ErrorCode::kTimeout ? "; check that the broker runs there, and can keep transactions" : ""));
}

// Calls again what a broker does not do yet, as long as there is patience.
class Waiting {
 public:
  Waiting(Duration patience, const std::atomic<bool>& stopping) : patience_(patience), stopping_(stopping) {}

  void progress() { since_ = std::chrono::steady_clock::now(); }
  [[nodiscard]] bool is_over() const { return std::chrono::steady_clock::now() - since_ >= patience_; }
  [[nodiscard]] bool stopping() const { return stopping_; }

 private:
  const Duration patience_;
  const std::atomic<bool>& stopping_;
  SteadyTime since_ = std::chrono::steady_clock::now();
};

std::unexpected<Error> ended() {
  return fail(ErrorCode::kUnavailable, "this process ends");
}

}  // namespace

// Of one transactional id. After an error there is nothing to do with it but to make a new one.
class KafkaOutput::Producer {
 public:
  Producer(const KafkaOptions& options, Duration patience, const std::atomic<bool>& stopping)
      : options_(options), waiting_(patience, stopping) {}
  ~Producer() {
    if (client_ != nullptr) rd_kafka_purge(client_.get(), RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
  }
  Producer(const Producer&) = delete;
  Producer& operator=(const Producer&) = delete;

  // From here on all others of this id are kept out, and what they had under way has ended.
  Status start(const std::string& name) {
    auto conf =
        make_kafka_conf(options_, kOurs, {{"acks", "all"}, {"enable.idempotence", "true"}, {"transactional.id", name}});
    if (!conf) return std::unexpected(conf.error());
    rd_kafka_conf_set_opaque(conf->get(), this);
    rd_kafka_conf_set_dr_msg_cb(conf->get(), on_delivery);
    auto client = make_client(RD_KAFKA_PRODUCER, std::move(*conf));
    if (!client) return std::unexpected(client.error());
    client_ = std::move(*client);
    topic_.reset(rd_kafka_topic_new(client_.get(), options_.topic.c_str(), nullptr));
    if (topic_ == nullptr) return fail(ErrorCode::kInvalid, "'" + options_.topic + "' is no name of a topic");
    Status ready = finish([this] { return rd_kafka_init_transactions(client_.get(), kStepMs); });
    if (ready) learn_topic();
    return ready;
  }

  Status begin() {
    if (const KafkaError error(rd_kafka_begin_transaction(client_.get())); error != nullptr) return failure(*error);
    return {};
  }

  // Gives the lines to librdkafka, which sends them.
  Status give(const std::string& bytes) {
    OutputLines lines(bytes);
    std::optional<std::string_view> key;
    waiting_.progress();
    for (std::string_view line; lines.next(key, line);) {
      if (Status given = give(key, line); !given) return given;
    }
    if (lines.is_whole()) return {};
    return fail(ErrorCode::kCorrupt, "the lines of the batch do not parse");
  }

  Status mark(const std::string& group_name, BatchId batch, Generation generation) {
    const KafkaPartitionList offsets(rd_kafka_topic_partition_list_new(1));
    rd_kafka_topic_partition_t* const offset =
        rd_kafka_topic_partition_list_add(offsets.get(), options_.topic.c_str(), 0);
    offset->offset = batch.value();
    const std::string note = std::to_string(generation.value());
    offset->metadata = strdup(note.c_str());  // freed with the list
    offset->metadata_size = note.size();
    const KafkaGroup group(rd_kafka_consumer_group_metadata_new(group_name.c_str()));
    return finish(
        [&] { return rd_kafka_send_offsets_to_transaction(client_.get(), offsets.get(), group.get(), kStepMs); });
  }

  Status commit() {
    return finish([this] { return rd_kafka_commit_transaction(client_.get(), kStepMs); });
  }

 private:
  static void on_delivery(rd_kafka_t*, const rd_kafka_message_t* message, void* opaque) {
    auto* const self = static_cast<Producer*>(opaque);
    self->waiting_.progress();
    if (self->failed_ == RD_KAFKA_RESP_ERR_NO_ERROR) self->failed_ = message->err;
  }

  // librdkafka looks once a second for topics that it does not know, while records wait.
  void learn_topic() {
    const rd_kafka_metadata_t* found = nullptr;
    (void)rd_kafka_metadata(client_.get(), 0, topic_.get(), &found, kStepMs);
    if (found != nullptr) rd_kafka_metadata_destroy(found);
  }

  // Calls it again as long as it says that this may help, and something goes on.
  template <typename Call>
  Status finish(Call call) {
    waiting_.progress();
    for (;;) {
      const KafkaError error(call());
      rd_kafka_poll(client_.get(), 0);
      if (error == nullptr) return {};
      if (waiting_.stopping()) return ended();
      if (rd_kafka_error_is_retriable(error.get()) == 0 || waiting_.is_over()) return failure(*error);
    }
  }

  // A record that was not delivered is the cause of what follows.
  [[nodiscard]] Status failure(const rd_kafka_error_t& error) const {
    if (failed_ != RD_KAFKA_RESP_ERR_NO_ERROR) return explain(options_, failed_, rd_kafka_err2str(failed_));
    return explain(options_, rd_kafka_error_code(&error), rd_kafka_error_string(&error));
  }

  Status give(std::optional<std::string_view> key, std::string_view line) {
    const void* const key_bytes = key ? key->data() : nullptr;
    const size_t key_size = key ? key->size() : 0;
    void* const line_bytes = const_cast<char*>(line.data());  // copied; the interface lacks the const
    const size_t line_size = line.size();
    for (;;) {
      const rd_kafka_resp_err_t error = rd_kafka_producev(
          client_.get(), RD_KAFKA_V_RKT(topic_.get()), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
          RD_KAFKA_V_KEY(key_bytes, key_size), RD_KAFKA_V_VALUE(line_bytes, line_size), RD_KAFKA_V_END);
      if (error == RD_KAFKA_RESP_ERR_NO_ERROR) return {};
      if (waiting_.stopping()) return ended();
      if (error != RD_KAFKA_RESP_ERR__QUEUE_FULL || waiting_.is_over()) {
        const rd_kafka_resp_err_t cause = failed_ != RD_KAFKA_RESP_ERR_NO_ERROR ? failed_ : error;
        return explain(options_, cause, rd_kafka_err2str(cause));
      }
      rd_kafka_poll(client_.get(), kStepMs);
    }
  }

  const KafkaOptions& options_;
  Waiting waiting_;
  rd_kafka_resp_err_t failed_ = RD_KAFKA_RESP_ERR_NO_ERROR;  // of the first record that was not delivered
  KafkaClient client_;                                       // calls on_delivery until it is gone
  KafkaTopicHandle topic_;                                   // of client_
};

struct KafkaOutput::Mark {
  std::optional<BatchId> batch;  // none: the broker knows of nothing
  Generation generation;         // of who has noted it; 0: not of us
};

// What is committed of a part: last, or once nothing is under way any more. By a consumer, since a producer has no
// group. kFenced: a younger owner than this one has noted it.
Result<KafkaOutput::Mark> KafkaOutput::read_mark(int32_t part, Generation reader, const char* isolation) const {
  auto conf =
      make_kafka_conf(options_, {{"client.id", "millrace"}, {"log.connection.close", "false"}},
                      {{"group.id", name_of(part)}, {"isolation.level", isolation}, {"enable.auto.commit", "false"}});
  if (!conf) return std::unexpected(conf.error());
  const auto client = make_client(RD_KAFKA_CONSUMER, std::move(*conf));
  if (!client) return std::unexpected(client.error());
  const Waiting waiting(kPatience, *stopping_);
  const KafkaPartitionList offsets(rd_kafka_topic_partition_list_new(1));
  const rd_kafka_topic_partition_t& found =
      *rd_kafka_topic_partition_list_add(offsets.get(), options_.topic.c_str(), 0);
  for (;;) {
    rd_kafka_resp_err_t error = rd_kafka_committed(client->get(), offsets.get(), kStepMs);
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR) error = found.err;
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR) break;
    if (waiting.stopping()) return ended();
    const ErrorCode code = kafka_error_code(error);
    const bool passing = code == ErrorCode::kUnavailable || code == ErrorCode::kTimeout;
    if (!passing || waiting.is_over()) return explain(options_, error, rd_kafka_err2str(error));
  }
  Mark mark;
  if (found.offset >= 0) mark.batch = BatchId(found.offset);
  const auto* const note = static_cast<const char*>(found.metadata);
  int64_t generation = 0;
  if (note != nullptr) std::from_chars(note, note + found.metadata_size, generation);
  mark.generation = Generation(generation);
  if (mark.generation <= reader) return mark;
  return fail(ErrorCode::kFenced, place_of(options_) + ": a younger owner of the part is there");
}

struct KafkaOutput::Owner {
  Owner(Generation its, BatchId at, std::unique_ptr<Producer> by)
      : generation(its), mark(at), producer(std::move(by)) {}
  Generation generation;
  BatchId mark;  // how far the part has come
  std::unique_ptr<Producer> producer;
};

KafkaOutput::KafkaOutput(const OutputTarget& target, KafkaOptions options)
    : options_(std::move(options)),
      name_("millrace-" + to_string(target.job) + "-" + target.plan.name),
      parts_(target.plan.parts) {}
KafkaOutput::~KafkaOutput() = default;
KafkaOutput::KafkaOutput(KafkaOutput&&) noexcept = default;

Result<KafkaOutput> KafkaOutput::open(const OutputTarget& target) {
  const auto uri = parse_uri(target.uri);
  if (!uri) return std::unexpected(uri.error());
  KafkaOptions options{.brokers = uri->authority, .topic = uri->path, .config = target.config, .option = "--output"};
  for (const char* const reserved : kNeeded) {
    if (!options.config.contains(reserved)) continue;
    return fail(ErrorCode::kInvalid, std::string("the librdkafka setting '") + reserved +
                                         "' is not yours to set for an output; remove it from --output-config");
  }
  if (Status valid = check_kafka_options(options); !valid) return std::unexpected(valid.error());
  return KafkaOutput(target, std::move(options));
}

// One transaction notes that all parts are at their beginning.
Status KafkaOutput::claim() {
  if (const auto topic = KafkaProducer::open(options_, kTopicTime); !topic) return std::unexpected(topic.error());
  // A broker's first group makes it create a topic of its own, and this waits for that.
  if (const auto mark = read_mark(0, Generation(0), kLast); !mark) return std::unexpected(mark.error());
  Producer producer(options_, kClaimTime, *stopping_);
  if (Status started = producer.start(name_); !started) return started;
  if (Status begun = producer.begin(); !begun) return begun;
  for (int32_t part = 0; part < parts_; ++part) {
    if (Status marked = producer.mark(name_of(part), BatchId(0), Generation(0)); !marked) return marked;
  }
  return producer.commit();
}

// --- who owns a part ---------------------------------------------------------------------------------------------

// A note of its own is made at once: older owners see it, and brokers count their week from it.
Status KafkaOutput::enter(int32_t part, Generation generation) {
  const auto owner = owner_of(part, generation);
  if (!owner) return std::unexpected(owner.error());
  return commit(part, (*owner)->mark, "");
}

Result<KafkaOutput::Owner*> KafkaOutput::owner_of(int32_t part, Generation generation) {
  std::unique_ptr<Owner>& owner = owners_[part];
  if (owner != nullptr && owner->generation == generation) return owner.get();
  owner = nullptr;
  auto taken = take_over(part, generation);
  if (!taken) return std::unexpected(taken.error());
  owner = std::move(*taken);
  return owner.get();
}

Result<std::unique_ptr<KafkaOutput::Owner>> KafkaOutput::take_over(int32_t part, Generation generation) {
  const std::string name = name_of(part);
  if (const auto before = read_mark(part, generation, kLast); !before) return std::unexpected(before.error());
  auto producer = std::make_unique<Producer>(options_, kPatience, *stopping_);
  if (Status started = producer->start(name); !started) return std::unexpected(started.error());
  const auto mark = read_mark(part, generation, kSettled);
  if (!mark) return std::unexpected(mark.error());
  if (!mark->batch) {
    return fail(ErrorCode::kInvalid,
                "it is forgotten how far " + place_of(options_) + " has come: the group '" + name +
                    "' has no offset there, which a broker removes with the topic, and after offsets.retention.minutes "
                    "in which the job did not run; submit it under another name, from where it is to go on (--start)");
  }
  return std::make_unique<Owner>(generation, *mark->batch, std::move(producer));
}

// --- a batch -----------------------------------------------------------------------------------------------------

Status KafkaOutput::append(const OutputBatch& batch) {
  const auto owner = owner_of(batch.part, batch.generation);
  if (!owner) return std::unexpected(owner.error());
  const BatchId mark = (*owner)->mark;
  if (batch.batch <= mark) return {};
  if (mark < batch.previous) {
    return fail(ErrorCode::kInvalid,
                "the group '" + name_of(batch.part) + "' says that " + place_of(options_) + " has come to batch " +
                    std::to_string(mark.value()) + ", and it had come to " + std::to_string(batch.previous.value()) +
                    "; its offset was set back, or the brokers are others: submit the job under another name");
  }
  return commit(batch.part, batch.batch, *batch.bytes);
}

// Whatever goes wrong, the next owner finds out what became of it.
Status KafkaOutput::commit(int32_t part, BatchId mark, const std::string& lines) {
  Owner& owner = *owners_.at(part);
  const auto steps = [&]() -> Status {
    if (Status begun = owner.producer->begin(); !begun) return begun;
    if (Status given = owner.producer->give(lines); !given) return given;
    if (Status marked = owner.producer->mark(name_of(part), mark, owner.generation); !marked) return marked;
    return owner.producer->commit();
  };
  Status done = steps();
  if (done) {
    owner.mark = mark;
  } else {
    owners_.erase(part);
  }
  return done;
}

}  // namespace millrace
