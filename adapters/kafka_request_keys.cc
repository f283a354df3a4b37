#include "adapters/kafka_request_keys.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "adapters/kafka_transactions.h"
#include "common/base/check.h"

namespace millrace {
namespace {

constexpr char kKeysVersion = '1';
constexpr int kKeysStepMs = 200;

// Takes a number and the sign behind it, if that is there, off the text.
bool take_number(std::string_view& text, int64_t& number, char behind) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || number < 0) return false;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  if (text.empty()) return behind == ' ';
  if (text.front() != behind) return false;
  text.remove_prefix(1);
  return true;
}

}  // namespace

std::string KafkaRequestKeys::to_text(const std::vector<WrittenRange>& places) {
  std::string text(1, kKeysVersion);
  for (const WrittenRange& range : places) {
    text += " " + std::to_string(range.partition.value()) + ":" + std::to_string(range.first.value()) + "+" +
            std::to_string(range.count);
  }
  return text;
}

std::optional<std::vector<WrittenRange>> KafkaRequestKeys::from_text(std::string_view text) {
  if (!text.starts_with(std::string{kKeysVersion, ' '})) return std::nullopt;
  text.remove_prefix(2);
  std::vector<WrittenRange> places;
  while (!text.empty()) {
    int64_t partition = 0;
    int64_t first = 0;
    int64_t count = 0;
    if (!take_number(text, partition, ':') || !take_number(text, first, '+') || !take_number(text, count, ' ') ||
        partition > INT32_MAX) {
      return std::nullopt;
    }
    places.push_back({LogPartition(static_cast<int32_t>(partition)), Offset(first), count});
  }
  return places;
}

const std::vector<WrittenRange>* KafkaRequestKeys::find(const std::string& key) const {
  const auto found = places_.find(key);
  return found == places_.end() ? nullptr : &found->second;
}

void KafkaRequestKeys::add(std::string key, std::vector<WrittenRange> places, Time now) {
  const auto [known, is_new] = places_.insert_or_assign(std::move(key), std::move(places));
  if (is_new) ages_.emplace_back(now, known->first);
}

void KafkaRequestKeys::forget_old(Time now) {
  while (!ages_.empty() && now - ages_.front().first > options_.span) {
    places_.erase(ages_.front().second);
    ages_.pop_front();
  }
}

Status KafkaRequestKeys::catch_up(Duration patience, Offset fence) {
  auto conf = make_kafka_conf(
      options_.topic, {{"client.id", "millrace"}, {"log.connection.close", "false"}, {"fetch.wait.max.ms", "10"}},
      {{"isolation.level", "read_committed"}, {"auto.offset.reset", "earliest"}});
  if (!conf) return std::unexpected(conf.error());
  const auto client = make_kafka_client(RD_KAFKA_CONSUMER, std::move(*conf));
  if (!client) return std::unexpected(client.error());
  KafkaPatience left(patience, stopping_);
  Result<Offset> from = where_to_begin(client->get(), fence);
  while (!from && !left.is_over() && !left.stopping()) {
    rd_kafka_poll(client->get(), kKeysStepMs);
    from = where_to_begin(client->get(), fence);
  }
  if (!from) return std::unexpected(from.error());

  const KafkaTopicHandle topic(rd_kafka_topic_new(client->get(), options_.topic.topic.c_str(), nullptr));
  const int32_t partition = options_.partition.value();
  if (topic == nullptr || rd_kafka_consume_start(topic.get(), partition, from->value()) != 0) {
    return failed(rd_kafka_last_error());
  }
  left.progress();
  rd_kafka_resp_err_t last = RD_KAFKA_RESP_ERR__TIMED_OUT;
  bool all = false;
  while (!all && !left.stopping() && !left.is_over()) {
    const KafkaMessage message(rd_kafka_consume(topic.get(), partition, kKeysStepMs));
    rd_kafka_poll(client->get(), 0);
    if (message == nullptr) continue;
    last = message->err;
    if (last != RD_KAFKA_RESP_ERR_NO_ERROR) continue;
    left.progress();
    learn(*message, std::chrono::steady_clock::now());
    all = Offset(message->offset) >= fence;
  }
  rd_kafka_consume_stop(topic.get(), partition);
  if (all) next_ = fence;
  if (all) return {};
  return left.stopping() ? KafkaPatience::ended() : failed(last);
}

// The fence is young, so there is a record that is.
Result<Offset> KafkaRequestKeys::where_to_begin(rd_kafka_t* client, Offset fence) const {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const KafkaPartitionList times(rd_kafka_topic_partition_list_new(1));
  rd_kafka_topic_partition_t& found =
      *rd_kafka_topic_partition_list_add(times.get(), options_.topic.topic.c_str(), options_.partition.value());
  found.offset =
      std::max<int64_t>(0, std::chrono::duration_cast<std::chrono::milliseconds>(now - 2 * options_.span).count());
  rd_kafka_resp_err_t error = rd_kafka_offsets_for_times(client, times.get(), kKeysStepMs);
  if (error == RD_KAFKA_RESP_ERR_NO_ERROR) error = found.err;
  if (error == RD_KAFKA_RESP_ERR_NO_ERROR && found.offset < 0) error = RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE;
  if (error != RD_KAFKA_RESP_ERR_NO_ERROR) return failed(error);
  const bool made_anew = next_ > fence;
  return made_anew ? Offset(0) : std::max(next_, Offset(found.offset));
}

std::unexpected<Error> KafkaRequestKeys::failed(rd_kafka_resp_err_t error) const {
  return std::unexpected(kafka_error(options_.topic, "cannot read", error));
}

void KafkaRequestKeys::learn(const rd_kafka_message_t& message, Time now) {
  const std::string_view text(static_cast<const char*>(message.payload), message.len);
  if (text == kFence) return;
  auto places = from_text(text);
  if (!places || message.key == nullptr) {
    LOG(WARNING) << options_.topic.topic << " partition " << message.partition << " offset " << message.offset
                 << ": this is no key of a request; write nothing else to this topic";
    return;
  }
  add(std::string(static_cast<const char*>(message.key), message.key_len), std::move(*places), now);
}

}  // namespace millrace
