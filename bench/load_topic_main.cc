// load_topic: brings the lines of standard input into a Kafka topic in large record batches, a run of lines to each
// partition in turn.
//
//   load_topic --brokers=127.0.0.1:9092 --topic=lines --partitions=4 < text
#include <gflags/gflags.h>

#include <cstdio>
#include <iostream>
#include <string>

#include "adapters/kafka_producer.h"

DEFINE_string(brokers, "127.0.0.1:9092", "HOST:PORT[,HOST:PORT]");
DEFINE_string(topic, "", "An existing topic");
DEFINE_int32(partitions, 4, "Partitions of the topic");
DEFINE_string(compression, "none", "none, gzip, snappy, lz4 or zstd");

namespace {

constexpr int64_t kRunLines = 100;

millrace::Result<int64_t> load() {
  auto producer = millrace::KafkaProducer::open({.brokers = FLAGS_brokers,
                                                 .topic = FLAGS_topic,
                                                 .config = {{"linger.ms", "20"},
                                                            {"batch.num.messages", "20000"},
                                                            {"queue.buffering.max.messages", "1000000"},
                                                            {"queue.buffering.max.kbytes", "500000"},
                                                            {"message.timeout.ms", "300000"},
                                                            {"compression.type", FLAGS_compression}}});
  if (!producer) return std::unexpected(producer.error());
  int64_t lines = 0;
  for (std::string line; std::getline(std::cin, line); ++lines) {
    const millrace::LogPartition partition(static_cast<int32_t>(lines / kRunLines % FLAGS_partitions));
    if (const auto taken = (*producer)->append(line, partition); !taken) return std::unexpected(taken.error());
  }
  if (const auto flushed = (*producer)->flush(); !flushed) return std::unexpected(flushed.error());
  return lines;
}

}  // namespace

int main(int argc, char** argv) {
  gflags::ParseCommandLineFlags(&argc, &argv, true);
  if (FLAGS_topic.empty() || FLAGS_partitions < 1) {
    std::fprintf(stderr, "load_topic: --topic is needed, and --partitions of at least 1\n");
    return 2;
  }
  std::ios::sync_with_stdio(false);
  const auto lines = load();
  if (!lines) {
    std::fprintf(stderr, "load_topic: %s\n", lines.error().message.c_str());
    return 1;
  }
  std::printf("%lld\n", static_cast<long long>(*lines));
  return 0;
}
