// DirectKafkaTest: a direct Kafka log before fake brokers, and what its tests need to play on them.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "adapters/direct_kafka_log.h"
#include "adapters/kafka_reader_choice.h"
#include "common/base/check.h"
#include "tests/conformance/chunk_collector.h"
#include "tests/conformance/log_fixture.h"
#include "tests/fakes/fake_kafka.h"

namespace millrace {

class DirectKafkaTest : public LogFixture {
 protected:
  using Api = FakeKafka::Api;
  using Fault = FakeKafka::Fault;

  static constexpr LogPartition kPartition{0};
  static constexpr int kBrokers = 2;
  static constexpr int kPartitions = 200;
  static constexpr DirectKafkaTiming kTiming{.fetch_wait = std::chrono::milliseconds(20),
                                             .silence = std::chrono::seconds(5),
                                             .error_pause = std::chrono::milliseconds(2),
                                             .most_pause = std::chrono::milliseconds(4),
                                             .topic_may_be_away = std::chrono::seconds(30)};

  // What a reader gets over: errors, closed connections, and answers that are none.
  static std::vector<Fault> passing_faults() {
    std::vector<Fault> all;
    for (const int16_t error : {-1, 2, 3, 5, 6, 7, 8, 9, 56, 74, 75, 78, 100, 103})
      all.push_back({.partition_error = error});
    for (const int16_t error : {-1, 7, 70, 71, 106}) all.push_back({.error = error});
    for (const size_t bytes : {0, 3, 4, 20, 95, 400, 700}) all.push_back({.bytes = bytes, .close = true});
    for (const int batch : {0, 1, 2}) all.push_back({.flipped_batch = batch});
    for (const Api api : {Api::kVersions, Api::kMetadata, Api::kFetch}) {
      all.push_back({.api = api, .bytes = 0, .close = true});
      all.push_back({.api = api, .close = true});
      all.push_back({.api = api, .other_correlation = true});
      for (const std::string& frame :
           {std::string(4, '\0'), std::string("\0\0\0\5", 4), std::string("\0\0\0\x60", 4),
            std::string("\0\0\0\x20", 4) + std::string(40, '\xff'), std::string("HTTP/1.1 400 Bad Request")}) {
        all.push_back({.api = api, .frame = frame, .close = true});
      }
    }
    for (const int16_t error : {5, 7, 3}) all.push_back({.api = Api::kMetadata, .error = error});
    all.push_back({.api = Api::kMetadata, .throttle_ms = 5});
    all.push_back({.throttle_ms = 30});
    all.push_back({.error = 7, .throttle_ms = 30});
    all.push_back({.api = Api::kAccept});
    return all;
  }
  DirectKafkaTest() { make_log(); }
  ~DirectKafkaTest() override {
    delete_log();
    EXPECT_EQ(kafka_.problem(), "");
  }

  void make_log(const DirectKafkaTiming& timing = kTiming, std::map<std::string, std::string> config = {},
                const std::string& more_brokers = "") {
    delete_log();
    loop_.run_and_wait([&] {
      const KafkaOptions options{kafka_.addresses() + more_brokers, FakeKafkaTopic::kName, std::move(config)};
      auto settings = direct_reader_settings(options, timing);
      CHECK(settings) << settings.error();
      log_ = std::make_unique<DirectKafkaLog>(options, std::move(*settings), loop_);
    });
  }

  void change(const std::function<void(FakeKafkaTopic&)>& change) { kafka_.change(change); }
  void append(const std::vector<std::string>& values, const AppendedAs& as = {}) {
    change([&](FakeKafkaTopic& topic) { topic.append(kPartition, values, as); });
  }
  Offset end() {
    Offset end;
    change([&](const FakeKafkaTopic& topic) { end = topic.end(kPartition); });
    return end;
  }

  size_t open(LogReaderHandler& handler, int64_t from = 0, std::optional<int64_t> until = {},
              size_t read_ahead_bytes = 32 << 20, LogPartition partition = kPartition) {
    return LogFixture::open(handler, partition, from, until, read_ahead_bytes);
  }
  void release(ChunkCollector& collector) {
    auto chunks = collector.release();
    loop_.run_and_wait([&] { chunks.clear(); });
  }

  FakeKafka kafka_{kBrokers, kPartitions};
};

}  // namespace millrace
