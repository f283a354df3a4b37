// Receivers at work for a job on a cluster: into a log by real Thrift calls, whose answers get lost.
#include "adapters/log_receiver.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <functional>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "adapters/api_server.h"
#include "adapters/file_descriptor.h"
#include "adapters/log_feed.h"
#include "common/runtime/event_loop.h"
#include "tests/conformance/temporary_directory.h"
#include "tests/fakes/fake_api_service.h"

namespace millrace {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

// An embedded log of three partitions in memory; the answers to every other new append get lost.
class ForgetfulAnswers final : public IngestStore {
 public:
  Result<int32_t> open_log(const std::string&, int32_t) override { return 3; }
  Result<OffsetRange> append(const std::string& log, LogPartition partition, NewRecords records,
                             AppendIdentity identity) override {
    const std::scoped_lock lock(mutex_);
    if (log != "lines" || identity.producer_id <= 0) return fail(ErrorCode::kInvalid, "not numbered");
    if (known_.emplace(partition, identity.producer_id, identity.sequence).second) {
      stored_.insert(stored_.end(), records.values.begin(), records.values.end());
      changed_.notify_all();
      if (known_.size() % 2 == 1) return fail(ErrorCode::kUnavailable, "the answer is lost");
    }
    return OffsetRange{Offset(0), Offset(0)};
  }
  std::vector<std::string> wait_for(size_t records) {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, std::chrono::seconds(60), [&] { return stored_.size() >= records; }));
    return stored_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::set<std::tuple<LogPartition, int64_t, int64_t>> known_;
  std::vector<std::string> stored_;
};

class LogReceiverTest : public testing::Test {
 protected:
  LogReceiverTest() { loop_.start(); }
  ~LogReceiverTest() override {
    end();
    server_ = nullptr;
    loop_.stop();
    loop_.join();
  }

  void serve(uint16_t port = 0) {
    auto server = ApiServer::start({.address = "127.0.0.1:" + std::to_string(port)}, loop_, service_, &store_);
    ASSERT_TRUE(server) << server.error();
    server_ = std::move(*server);
    api_ = "127.0.0.1:" + std::to_string(server_->port());
  }
  void start() {
    loop_.run_and_wait([&] {
      receiver_ = start_log_receiver({"directory://" + spool_.path(), 1000, "log://lines", {}, api_}, loop_,
                                     [this](const std::string& problem) {
                                       const std::scoped_lock lock(mutex_);
                                       problems_.push_back(problem);
                                       changed_.notify_all();
                                     });
    });
  }
  void end() {
    loop_.run_and_wait([&] { receiver_ = nullptr; });
  }
  // That it has been told, as the newest one.
  void wait_for_problem(const std::string& text) {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, std::chrono::seconds(60), [&] {
      return !problems_.empty() && problems_.back().find(text) != std::string::npos &&
             problems_.back().empty() == text.empty();
    })) << text;
  }
  void put(const std::string& name, const std::vector<std::string>& lines) {
    std::ofstream file(elsewhere_.path() + "/" + name);
    for (const std::string& line : lines) file << line << "\n";
    file.close();
    std::filesystem::rename(elsewhere_.path() + "/" + name, spool_.path() + "/" + name);
  }

  const TemporaryDirectory spool_;
  const TemporaryDirectory elsewhere_;
  EventLoop loop_{"receiver-test"};
  FakeApiService service_{loop_};
  ForgetfulAnswers store_;
  std::unique_ptr<ApiServer> server_;
  std::string api_;
  std::unique_ptr<RunningReceiver> receiver_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> problems_;  // guarded by mutex_
};

TEST_F(LogReceiverTest, LinesAreStoredOnceThoughAnswersAreLostAndTheReceiverIsAnotherOne) {
  std::vector<std::string> lines;
  for (int number = 0; number < 100'000; ++number) lines.push_back("line " + std::to_string(number));
  serve();
  put("file", lines);
  start();
  store_.wait_for(1);
  end();
  start();
  auto stored = store_.wait_for(lines.size());
  put("last", {"the last"});
  stored = store_.wait_for(lines.size() + 1);
  lines.emplace_back("the last");
  std::ranges::sort(stored);
  std::ranges::sort(lines);
  EXPECT_TRUE(stored == lines) << stored.size();
  EXPECT_TRUE(std::filesystem::exists(spool_.path() + "/.taken/file"));
}

TEST_F(LogReceiverTest, WhatIsNumberedByAFeedAloneIsStoredOnceToo) {
  serve();
  auto feed = open_log_feed({"log://lines", {}, api_});
  ASSERT_TRUE(feed) << feed.error();
  for (const std::string_view line : {"a", "b", "c", "d"}) {
    while (!(*feed)->append(std::span(&line, 1), 0)) {
    }
  }
  EXPECT_THAT(store_.wait_for(4), testing::ElementsAre("a", "b", "c", "d"));
}

TEST_F(LogReceiverTest, AMasterThatIsAwayIsToldAndTakenUpWhenItIsThere) {
  serve();
  const uint16_t port = server_->port();
  server_ = nullptr;
  put("file", {"line"});
  start();
  wait_for_problem("cannot append to log://lines: the master at " + api_ + " does not answer");
  serve(port);
  store_.wait_for(1);
  wait_for_problem("");
}

TEST_F(LogReceiverTest, EndsAtOnceWhileTheMasterIsSilent) {
  const FileDescriptor silent(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  ASSERT_EQ(::bind(silent.get(), reinterpret_cast<const sockaddr*>(&address), size), 0);
  ASSERT_EQ(::listen(silent.get(), 1), 0);
  ASSERT_EQ(::getsockname(silent.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  api_ = "127.0.0.1:" + std::to_string(ntohs(address.sin_port));
  put("file", {"line"});
  start();
  const FileDescriptor asked(::accept4(silent.get(), nullptr, nullptr, SOCK_CLOEXEC));
  char byte = 0;
  ASSERT_EQ(::recv(asked.get(), &byte, 1, 0), 1);  // it waits for the answer now
  const auto begin = std::chrono::steady_clock::now();
  end();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));  // half of what it waits
}

}  // namespace
}  // namespace millrace
