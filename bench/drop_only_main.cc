// drop_only: a librdkafka client that reads partitions of a topic from their begin to their end, in large batches and
// with generous buffers, and drops the messages: the rate that bench/engine_bench.py calls R. Prints one JSON object;
// times are of the monotonic clock, which the processes of a machine share.
//
//   drop_only --brokers=127.0.0.1:9092 --topic=lines --first_partition=0 --partitions=2
#include <gflags/gflags.h>
#include <librdkafka/rdkafka.h>
#include <sys/resource.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

DEFINE_string(brokers, "127.0.0.1:9092", "HOST:PORT[,HOST:PORT]");
DEFINE_string(topic, "", "The topic");
DEFINE_int32(first_partition, 0, "The first partition to read");
DEFINE_int32(partitions, 1, "How many partitions to read");

namespace {

constexpr size_t kMessagesAtOnce = 10'000;
constexpr int kWaitMs = 1000;

// What served librdkafka best.
const char* const kSettings[][2] = {
    {"group.id", "drop_only"},
    {"enable.auto.commit", "false"},
    {"enable.partition.eof", "true"},
    {"queued.min.messages", "1000000"},
    {"queued.max.messages.kbytes", "262144"},
    {"fetch.message.max.bytes", "8388608"},
    {"fetch.max.bytes", "67108864"},
    {"check.crcs", "false"},
    {"socket.receive.buffer.bytes", "4194304"},
};

[[noreturn]] void give_up(const std::string& problem) {
  std::fprintf(stderr, "drop_only: %s\n", problem.c_str());
  std::exit(1);
}

rd_kafka_t* open_consumer() {
  char text[512] = {};
  rd_kafka_conf_t* conf = rd_kafka_conf_new();
  const auto set = [&](const char* name, const char* value) {
    if (rd_kafka_conf_set(conf, name, value, text, sizeof text) != RD_KAFKA_CONF_OK) give_up(text);
  };
  set("bootstrap.servers", FLAGS_brokers.c_str());
  for (const auto& [name, value] : kSettings) set(name, value);
  rd_kafka_t* consumer = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof text);
  if (consumer == nullptr) give_up(text);
  rd_kafka_topic_partition_list_t* list = rd_kafka_topic_partition_list_new(FLAGS_partitions);
  for (int32_t i = 0; i < FLAGS_partitions; ++i) {
    rd_kafka_topic_partition_list_add(list, FLAGS_topic.c_str(), FLAGS_first_partition + i)->offset = 0;
  }
  const rd_kafka_resp_err_t error = rd_kafka_assign(consumer, list);
  rd_kafka_topic_partition_list_destroy(list);
  if (error != RD_KAFKA_RESP_ERR_NO_ERROR) give_up(rd_kafka_err2str(error));
  return consumer;
}

double seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

int main(int argc, char** argv) {
  gflags::ParseCommandLineFlags(&argc, &argv, true);
  if (FLAGS_topic.empty()) {
    std::fprintf(stderr, "drop_only: --topic is needed\n");
    return 2;
  }
  rd_kafka_t* consumer = open_consumer();
  rd_kafka_queue_t* queue = rd_kafka_queue_get_consumer(consumer);
  std::vector<rd_kafka_message_t*> messages(kMessagesAtOnce);
  int64_t dropped = 0;
  int64_t bytes = 0;
  double first = 0;
  for (int32_t ended = 0; ended < FLAGS_partitions;) {
    const ssize_t got = rd_kafka_consume_batch_queue(queue, kWaitMs, messages.data(), messages.size());
    if (got > 0 && first == 0) first = now();
    for (ssize_t i = 0; i < got; ++i) {
      rd_kafka_message_t* message = messages[static_cast<size_t>(i)];
      if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        ++ended;
      } else if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        give_up(rd_kafka_message_errstr(message));
      } else {
        ++dropped;
        bytes += static_cast<int64_t>(message->len);
      }
      rd_kafka_message_destroy(message);
    }
  }
  const double end = now();
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  std::printf("{\"messages\": %lld, \"bytes\": %lld, \"first\": %.6f, \"end\": %.6f, \"cpu_s\": %.3f}\n",
              static_cast<long long>(dropped), static_cast<long long>(bytes), first, end,
              seconds(usage.ru_utime) + seconds(usage.ru_stime));
  rd_kafka_queue_destroy(queue);
  rd_kafka_consumer_close(consumer);
  rd_kafka_destroy(consumer);
  return 0;
}
