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
#include "adapters/kafka_transactions.h"
#include "common/model/output_lines.h"
#include "common/model/uri.h"

namespace millrace {
namespace {

constexpr int kStepMs = 500;
// Whoever submits waits for a claim. The first transaction of a broker makes it create topics of its own.
constexpr Duration kTopicTime = std::chrono::milliseconds(1500);
constexpr Duration kClaimTime = std::chrono::seconds(10);
// So long nothing goes on before that is told, and begun anew.
constexpr Duration kPatience = std::chrono::seconds(10);

// A transaction may take as long as a large batch does on a slow broker; one whose owner is gone ends when the next one
// enters.
const std::map<std::string, std::string> kOurs = {
    {"linger.ms", "5"},
    {"batch.size", "1000000"},
    {"queue.buffering.max.kbytes", "65536"},
    {"message.timeout.ms", "600000"},
    {"transaction.timeout.ms", "600000"},
};

// Of what is committed: also while a transaction is open, which a reader of what is settled waits for.
constexpr char kLast[] = "read_uncommitted";
constexpr char kSettled[] = "read_committed";

// What makes a batch be there once.
constexpr const char* kNeeded[] = {"acks", "enable.idempotence", "group.id", "isolation.level", "transactional.id"};

std::string place_of(const KafkaOptions& options) {
  return "topic '" + options.topic + "' on " + options.brokers;
}

// What cannot be delivered, ever, is no reason to try again.
Error explain(const KafkaOptions& options, rd_kafka_resp_err_t error, const std::string& text) {
  const std::string place = place_of(options);
  switch (error) {
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
      return {ErrorCode::kInvalid, place +
                                       " takes no line of that size; raise its max.message.bytes, and "
                                       "message.max.bytes in --output-config, and submit the job again"};
    case RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT:
      return {ErrorCode::kInvalid, place +
                                       " permits no transactions that long; lower transaction.timeout.ms and "
                                       "message.timeout.ms in --output-config, or raise the broker's "
                                       "transaction.max.timeout.ms"};
    case RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
      return {ErrorCode::kUnavailable, "cannot append to " + place + ": " + text +
                                           "; permit transactional ids and groups that begin with millrace-"};
    default: break;
  }
  const ErrorCode code = kafka_error_code(error);
  return {code == ErrorCode::kInvalid ? code : ErrorCode::kUnavailable,
          "cannot append to " + place + ": " + text +
              (code == ErrorCode::kTimeout ? "; check that the broker runs there, and can keep transactions" : "")};
}

}  // namespace

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
  const auto client = make_kafka_client(RD_KAFKA_CONSUMER, std::move(*conf));
  if (!client) return std::unexpected(client.error());
  const KafkaPatience patience(kPatience, *stopping_);
  const KafkaPartitionList offsets(rd_kafka_topic_partition_list_new(1));
  const rd_kafka_topic_partition_t& found =
      *rd_kafka_topic_partition_list_add(offsets.get(), options_.topic.c_str(), 0);
  for (;;) {
    rd_kafka_resp_err_t error = rd_kafka_committed(client->get(), offsets.get(), kStepMs);
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR) error = found.err;
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR) break;
    if (patience.stopping()) return KafkaPatience::ended();
    const ErrorCode code = kafka_error_code(error);
    const bool passing = code == ErrorCode::kUnavailable || code == ErrorCode::kTimeout;
    if (!passing || patience.is_over()) return std::unexpected(explain(options_, error, rd_kafka_err2str(error)));
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
  Owner(Generation its, BatchId at, std::unique_ptr<KafkaTransactions> by)
      : generation(its), mark(at), producer(std::move(by)) {}
  Generation generation;
  BatchId mark;  // how far the part has come
  std::unique_ptr<KafkaTransactions> producer;
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

std::unique_ptr<KafkaTransactions> KafkaOutput::make_producer(Duration patience) const {
  const auto explain_it = [options = options_](rd_kafka_resp_err_t error, const std::string& text) {
    return explain(options, error, text);
  };
  return std::make_unique<KafkaTransactions>(options_, std::vector{options_.topic}, explain_it, patience, *stopping_);
}

// One transaction notes that all parts are at their beginning.
Status KafkaOutput::claim() {
  if (const auto topic = KafkaProducer::open(options_, kTopicTime); !topic) return std::unexpected(topic.error());
  // A broker's first group makes it create a topic of its own, and this waits for that.
  if (const auto mark = read_mark(0, Generation(0), kLast); !mark) return std::unexpected(mark.error());
  const auto producer = make_producer(kClaimTime);
  if (Status started = producer->start(name_, kOurs); !started) return started;
  if (Status begun = producer->begin(); !begun) return begun;
  for (int32_t part = 0; part < parts_; ++part) {
    if (Status marked = note(*producer, part, BatchId(0), Generation(0)); !marked) return marked;
  }
  return producer->commit();
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
  auto producer = make_producer(kPatience);
  if (Status started = producer->start(name, kOurs); !started) return std::unexpected(started.error());
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

// Gives the lines to librdkafka, which sends them.
Status KafkaOutput::give(KafkaTransactions& producer, const std::string& bytes) {
  OutputLines lines(bytes);
  std::optional<std::string_view> key;
  for (std::string_view line; lines.next(key, line);) {
    if (Status given = producer.give(0, {.key = key, .value = line}); !given) return given;
  }
  if (lines.is_whole()) return {};
  return fail(ErrorCode::kCorrupt, "the lines of the batch do not parse");
}

Status KafkaOutput::note(KafkaTransactions& producer, int32_t part, BatchId batch, Generation generation) const {
  return producer.note(name_of(part), batch.value(), std::to_string(generation.value()));
}

// Whatever goes wrong, the next owner finds out what became of it.
Status KafkaOutput::commit(int32_t part, BatchId mark, const std::string& lines) {
  Owner& owner = *owners_.at(part);
  const auto steps = [&]() -> Status {
    if (Status begun = owner.producer->begin(); !begun) return begun;
    if (Status given = give(*owner.producer, lines); !given) return given;
    if (Status marked = note(*owner.producer, part, mark, owner.generation); !marked) return marked;
    return owner.producer->commit();
  };
  Status done = steps();
  if (done) owner.mark = mark;
  if (!done || !owner.producer->may_go_on()) owners_.erase(part);
  return done;
}

}  // namespace millrace
