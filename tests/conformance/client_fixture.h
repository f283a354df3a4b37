// The command line and an API server with a fake service behind it, between them real sockets.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <sstream>
#include <string>
#include <tuple>
#include <vector>

#include "adapters/api_server.h"
#include "client/session.h"
#include "common/model/master_starting.h"
#include "common/runtime/event_loop.h"
#include "tests/fakes/fake_api_service.h"

namespace millrace {

// Answers `top` with batches that rise, and now and then with one that was answered before.
class BatchService : public FakeApiService {
 public:
  using FakeApiService::FakeApiService;
  void top(std::string name, int32_t, int64_t at_least, std::string, Done<api::Values> done) override {
    const int64_t call = ++calls;
    if (name == "recovering" && call < 3) return done(fail(ErrorCode::kUnavailable, "not all state is back yet"));
    api::Values values;
    values.as_of.job_id = "0123456789abcdef";
    values.as_of.batch = call % 3 == 0 ? call - 2 : std::max(call, at_least);
    values.values.resize(1);
    values.values[0].key = "the";
    values.values[0].text = std::to_string(call);
    values.values[0].found = true;
    if (call % 5 == 0) return done(fail(ErrorCode::kTimeout, "no newer batch"));
    done(values);
  }
  void lag(std::string, Done<api::Lag> done) override {
    api::Lag lag;
    lag.as_of.batch = ++lag_calls;
    lag.partitions.resize(2);
    for (api::PartitionLag& partition : lag.partitions) {
      partition.end_offset = 3 + lag_calls;  // the log goes on growing
      partition.applied_offset = lag_calls;
    }
    lag.problem = lag_problem;
    done(lag);
  }
  void jobs(Done<std::vector<api::JobSummary>> done) override {
    if (starting > 0) {
      --starting;
      return done(fail(ErrorCode::kUnavailable, kMasterIsStarting));
    }
    FakeApiService::jobs(std::move(done));
  }
  std::atomic<int64_t> calls = 0;
  void describe(std::string name, Done<api::JobDescription> done) override {
    if (name != "lagging") return FakeApiService::describe(std::move(name), std::move(done));
    api::JobDescription description;
    description.summary.changed = lag_calls;
    description.summary.published = lag_calls < 6 ? 0 : lag_calls;
    description.summary.problem = "Redis is away";
    done(description);
  }
  int64_t lag_calls = 0;
  std::string lag_problem;
  std::atomic<int> starting = 0;  // so many answers of a master that is starting
};

// Keeps what is appended, once per identity; answers every third append as if it had failed after storing it.
class LossyIngest : public IngestStore {
 public:
  Result<int32_t> open_log(const std::string&, int32_t partitions) override {
    ++opened;
    return partitions;
  }
  Result<OffsetRange> append(const std::string&, LogPartition partition, NewRecords records,
                             AppendIdentity identity) override {
    const std::lock_guard lock(mutex_);
    EXPECT_NE(identity.producer_id, 0);
    if (seen_.emplace(identity.producer_id, partition.value(), identity.sequence).second) {
      for (const std::string& record : records.values) stored_[partition.value()].push_back(record);
    }
    if (++calls_ % 3 == 0) return fail(ErrorCode::kUnavailable, "the answer was lost");
    return OffsetRange{Offset(0), Offset(static_cast<int64_t>(records.values.size()))};
  }
  std::map<int32_t, std::vector<std::string>> stored() {
    const std::lock_guard lock(mutex_);
    return stored_;
  }
  std::atomic<int> opened = 0;

 private:
  std::mutex mutex_;
  int calls_ = 0;
  std::set<std::tuple<int64_t, int32_t, int64_t>> seen_;
  std::map<int32_t, std::vector<std::string>> stored_;
};

struct Done {
  int code;
  std::string out;
  std::string err;
};

class ClientTest : public testing::Test {
 protected:
  void SetUp() override {
    loop_.start();
    start("127.0.0.1:0");
    address_ = "127.0.0.1:" + std::to_string(server_->port());
  }
  void TearDown() override {
    server_.reset();
    loop_.stop();
    loop_.join();
  }
  void start(const std::string& address) {
    ApiServerOptions options;
    options.address = address;
    auto server = ApiServer::start(options, loop_, service_, &ingest_);
    ASSERT_TRUE(server) << server.error();
    server_ = std::move(*server);
  }
  // A master that is not there is not waited for, unless the arguments say so.
  Done run(std::vector<std::string> arguments, int input = -1, bool terminal = false) {
    if (std::ranges::find(arguments, "--wait") == arguments.end()) arguments.insert(arguments.begin(), "--wait=0s");
    std::ostringstream out, err;
    client::Session session{.out = out, .err = err, .input = input, .terminal = terminal};
    arguments.insert(arguments.begin(), {"--api", address_});
    return {client::run_client(arguments, session), out.str(), err.str()};
  }
  // A descriptor from which `text` can be read.
  static int input_of(const std::string& text) {
    FILE* file = tmpfile();
    fwrite(text.data(), 1, text.size(), file);
    fflush(file);
    const int descriptor = dup(fileno(file));
    fclose(file);
    lseek(descriptor, 0, SEEK_SET);
    return descriptor;
  }

  EventLoop loop_{"test"};
  BatchService service_{loop_};
  LossyIngest ingest_;
  std::unique_ptr<ApiServer> server_;
  std::string address_;
};

}  // namespace millrace
