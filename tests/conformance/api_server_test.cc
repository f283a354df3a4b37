// The API server with a fake service behind it, over real sockets: what every method carries there and back, and
// what clients that are broken, hostile or merely slow cannot do.
#include "adapters/api_server.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <thrift/protocol/TBinaryProtocol.h>
#include <thrift/protocol/TMultiplexedProtocol.h>
#include <thrift/transport/TBufferTransports.h>
#include <thrift/transport/TSocket.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "Control.h"
#include "Ingest.h"
#include "Query.h"
#include "adapters/frame_server.h"
#include "common/runtime/event_loop.h"
#include "tests/fakes/fake_api_service.h"

namespace millrace {
namespace {

using apache::thrift::protocol::TBinaryProtocol;
using apache::thrift::protocol::TMultiplexedProtocol;
using apache::thrift::transport::TFramedTransport;
using apache::thrift::transport::TSocket;
using testing::HasSubstr;

struct Client {
  explicit Client(uint16_t port, bool wide = false)
      : socket(std::make_shared<TSocket>("127.0.0.1", port)),
        framed(std::make_shared<TFramedTransport>(
            socket, wide ? std::make_shared<apache::thrift::TConfiguration>(1 << 30, 1 << 30) : nullptr)),
        binary(std::make_shared<TBinaryProtocol>(framed)),
        control(std::make_shared<TMultiplexedProtocol>(binary, "Control")),
        query(std::make_shared<TMultiplexedProtocol>(binary, "Query")),
        ingest(std::make_shared<TMultiplexedProtocol>(binary, "Ingest")) {
    framed->open();
  }
  std::shared_ptr<TSocket> socket;
  std::shared_ptr<TFramedTransport> framed;
  std::shared_ptr<TBinaryProtocol> binary;
  api::ControlClient control;
  api::QueryClient query;
  api::IngestClient ingest;
};

class RawSocket {
 public:
  explicit RawSocket(uint16_t port) : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    connected_ = fd_ >= 0 && connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
  }
  ~RawSocket() { close(fd_); }
  RawSocket(const RawSocket&) = delete;
  RawSocket& operator=(const RawSocket&) = delete;

  [[nodiscard]] bool connected() const { return connected_; }
  bool write(const std::string& bytes) {
    return send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size());
  }
  // Waits for so many bytes; false: it was closed before.
  bool skip(size_t bytes) {
    std::string buffer(64 << 10, 0);
    while (bytes > 0) {
      const ssize_t n = recv(fd_, buffer.data(), std::min(bytes, buffer.size()), 0);
      if (n <= 0) return false;
      bytes -= static_cast<size_t>(n);
    }
    return true;
  }
  // Waits until the server closes; what it said before.
  std::string read_to_end() {
    std::string all;
    char buffer[4096];
    for (ssize_t n = 0; (n = recv(fd_, buffer, sizeof(buffer), 0)) > 0;) all.append(buffer, n);
    return all;
  }
  // Says that nothing more will come, and waits for the server to close.
  std::string finish() {
    shutdown(fd_, SHUT_WR);
    return read_to_end();
  }

 private:
  int fd_;
  bool connected_ = false;
};

std::string header_of(uint32_t size) {
  return {static_cast<char>(size >> 24), static_cast<char>(size >> 16), static_cast<char>(size >> 8),
          static_cast<char>(size)};
}

class ApiServerTest : public testing::Test {
 protected:
  void SetUp() override {
    loop_.start();
    options_.address = "127.0.0.1:0";
    // Long enough for a busy machine under a sanitizer; what waits for the limit sets its own.
    options_.answer_timeout = std::chrono::seconds(30);
    options_.change_timeout = std::chrono::seconds(30);
  }
  void TearDown() override {
    server_.reset();
    loop_.stop();
    loop_.join();
  }
  void start() {
    auto server = ApiServer::start(options_, loop_, service_, &ingest_);
    ASSERT_TRUE(server) << server.error();
    server_ = std::move(*server);
  }
  api::Failure failure_of(const std::function<void()>& call) {
    try {
      call();
    } catch (const api::Failure& failure) {
      return failure;
    }
    ADD_FAILURE() << "no failure";
    return {};
  }
  void expect_alive() {
    Client client(server_->port());
    std::vector<api::JobSummary> jobs;
    client.control.jobs(jobs);
    EXPECT_EQ(jobs.size(), 2);
  }

  EventLoop loop_{"test"};
  FakeApiService service_{loop_};
  FakeIngestStore ingest_;
  ApiServerOptions options_;
  std::unique_ptr<ApiServer> server_;
};

api::SubmitRequest request_of(const std::string& name) {
  api::SubmitRequest request;
  request.name = name;
  request.type = "word_count";
  request.source = "log://lines";
  request.sink = "none:";
  return request;
}

TEST_F(ApiServerTest, EveryMethodOfControlArrivesAndIsAnswered) {
  start();
  Client client(server_->port());
  api::JobSummary summary;
  api::SubmitRequest request = request_of("a");
  request.settings = {{"rank", "all"}};
  client.control.submit(summary, request);
  EXPECT_EQ(summary.name, "a");
  EXPECT_EQ(service_.last_submit, request);
  std::vector<api::JobSummary> jobs;
  client.control.jobs(jobs);
  EXPECT_EQ(jobs.size(), 2);
  api::JobDescription description;
  client.control.describe(description, "a");
  EXPECT_EQ(description.summary.name, "a");
  client.control.stop(summary, "b");
  EXPECT_EQ(summary.name, "b");
  client.control.resume(summary, "c");
  EXPECT_EQ(summary.name, "c");
  client.control.resume_from(summary, "c", 7);
  EXPECT_EQ(summary.applied.batch, 7);
  api::UpgradeRequest upgrade;
  upgrade.name = "d";
  upgrade.type = "better_count";
  upgrade.plan.states.resize(3);
  api::UpgradePlan plan;
  client.control.plan_upgrade(plan, upgrade);
  EXPECT_EQ(plan.version, 2);
  EXPECT_EQ(plan.states.size(), 3);
  client.control.upgrade(summary, upgrade);
  EXPECT_EQ(summary.name, "d");
  EXPECT_EQ(summary.type, "better_count");
  client.control.kill("a", true);
  EXPECT_TRUE(service_.purged);
  std::vector<api::JobType> types;
  client.control.job_types(types);
  ASSERT_EQ(types.size(), 1);
  EXPECT_EQ(types[0].settings.size(), 2);
  std::vector<api::Checkpoint> checkpoints;
  client.control.checkpoints(checkpoints, "a");
  ASSERT_EQ(checkpoints.size(), 2);
  EXPECT_EQ(checkpoints[1].batch, 7);
  std::vector<api::WorkerSummary> workers;
  client.control.workers(workers);
  EXPECT_EQ(workers.size(), 3);
  api::Lag lag;
  client.control.lag(lag, "a");
  EXPECT_EQ(lag.partitions.size(), 2);
}

TEST_F(ApiServerTest, EveryMethodOfQueryAndIngestArrivesAndIsAnswered) {
  start();
  Client client(server_->port());
  api::Values values;
  client.query.get(values, "a", {"the", std::string("nul\0byte", 8)}, 7, "counts");
  ASSERT_EQ(values.values.size(), 2);
  EXPECT_EQ(values.values[1].text, "8");
  EXPECT_EQ(values.as_of.batch, 7);
  EXPECT_EQ(values.table, "counts");
  client.query.top(values, "a", 5, 9, "sums");
  EXPECT_EQ(values.values.size(), 5);
  EXPECT_EQ(values.as_of.batch, 9);
  EXPECT_EQ(values.table, "sums");
  api::DeadLetters letters;
  client.query.dead_letters(letters, "a", 100, 20, 3, "orders");
  EXPECT_EQ(letters.total, 129);
  EXPECT_EQ(client.ingest.open_log("lines", 4), 4);
  api::AppendResult result;
  client.ingest.append(result, "lines", 3, {"one", "two"}, 77, 5, {});
  EXPECT_EQ(result.partition, 3);
  EXPECT_EQ(result.first_offset, 5);
  EXPECT_EQ(result.next_offset, 7);
}

TEST_F(ApiServerTest, ErrorsOfTheMasterComeAsFailuresOfTheirKind) {
  options_.change_timeout = std::chrono::seconds(1);  // for the one that never answers
  start();
  Client client(server_->port());
  api::JobSummary summary;
  const auto missing = failure_of([&] { client.control.stop(summary, "missing"); });
  EXPECT_EQ(missing.kind, api::ErrorKind::NOT_FOUND);
  EXPECT_EQ(missing.message, "there is no job 'missing'");
  EXPECT_EQ(failure_of([&] { client.control.stop(summary, "silent"); }).kind, api::ErrorKind::TIMED_OUT);
  EXPECT_EQ(failure_of([&] { client.control.stop(summary, "dropped"); }).kind, api::ErrorKind::UNAVAILABLE);
  EXPECT_EQ(failure_of([&] { client.ingest.open_log("full", 1); }).kind, api::ErrorKind::INTERNAL);
  api::AppendResult result;
  EXPECT_EQ(failure_of([&] { client.ingest.append(result, "a", 9, {"x"}, 0, 0, {}); }).kind, api::ErrorKind::NOT_FOUND);
  client.control.stop(summary, "a");  // the connection is as good as before
}

TEST_F(ApiServerTest, RequestsThatCannotBeRightNeverReachTheMaster) {
  start();
  Client client(server_->port());
  api::JobSummary summary;
  api::Values values;
  api::Docs docs;
  api::DeadLetters letters;
  api::AppendResult result;
  std::vector<std::function<void()>> calls = {
      [&] { client.control.stop(summary, "../etc"); },
      [&] { client.control.kill("", false); },
      [&] { client.query.get(values, "a", {}, 0, ""); },
      [&] { client.query.get(values, "a", {"x"}, -1, ""); },
      [&] { client.query.get(values, "a", std::vector<std::string>(5, std::string(1 << 20, 'x')), 0, ""); },
      [&] { client.query.top(values, "a", 0, 0, ""); },
      [&] { client.query.top(values, "a", 1001, 0, ""); },
      [&] { client.query.dead_letters(letters, "a", 0, 0, 0, ""); },
      [&] { client.query.dead_letters(letters, "a", 1, -1, 0, ""); },
      [&] { client.query.docs(docs, {}); },
      [&] { client.ingest.open_log("a/b", 1); },
      [&] { client.ingest.open_log("a", 0); },
      [&] { client.ingest.append(result, "a", -1, {"x"}, 0, 0, {}); },
      [&] { client.ingest.append(result, "a", 0, {}, 0, 0, {}); },
      [&] { client.ingest.append(result, "a", 0, {"x"}, 5, 0, {}); },
  };
  for (const auto& call : calls) {
    const auto failure = failure_of(call);
    EXPECT_EQ(failure.kind, api::ErrorKind::INVALID) << failure.message;
    EXPECT_FALSE(failure.message.empty());
  }
}

TEST_F(ApiServerTest, APortInUseAndAMalformedAddressAreNamed) {
  start();
  ApiServerOptions same = options_;
  same.address = "127.0.0.1:" + std::to_string(server_->port());
  const auto second = ApiServer::start(same, loop_, service_, nullptr);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::kUnavailable);
  EXPECT_THAT(second.error().message, HasSubstr("--api " + same.address));
  same.address = "7071";
  EXPECT_EQ(ApiServer::start(same, loop_, service_, nullptr).error().code, ErrorCode::kInvalid);
}

TEST_F(ApiServerTest, OversizedMessagesAreRefusedBeforeTheyAreRead) {
  start();
  for (const uint32_t size : {0u, (16u << 20) + 1, 0x7fffffffu, 0xffffffffu}) {
    RawSocket raw(server_->port());
    ASSERT_TRUE(raw.write(header_of(size)));
    EXPECT_EQ(raw.read_to_end(), "");
  }
  expect_alive();
}

TEST_F(ApiServerTest, AMessageOfAlmostTheLimitIsTaken) {
  start();
  Client client(server_->port(), true);
  api::AppendResult result;
  client.ingest.append(result, "lines", 0, std::vector<std::string>(15, std::string(1 << 20, 'x')), 0, 0, {});
  EXPECT_EQ(ingest_.bytes(), 15u << 20);
}

TEST_F(ApiServerTest, AConnectionIsNotEndedByTheSizeOfAllItsMessages) {
  start();
  Client client(server_->port());  // Thrift's default limit is 100 MiB a message
  api::Values values;
  const std::string key(4 << 20, 'x');
  for (int i = 0; i < 30; ++i) client.query.get(values, "a", {key}, 0, "");
  EXPECT_EQ(values.values.size(), 1);
}

TEST_F(ApiServerTest, AnAnswerAboveTheLimitIsAFailureWithARemedy) {
  options_.max_message_bytes = 1 << 20;
  start();
  Client client(server_->port());
  api::Values values;
  const std::vector<std::string> keys(60'000, "0123456789");  // the answer says more of each
  const auto failure = failure_of([&] { client.query.get(values, "a", keys, 0, ""); });
  EXPECT_EQ(failure.kind, api::ErrorKind::INVALID);
  EXPECT_THAT(failure.message, HasSubstr("ask for less"));
  client.query.get(values, "a", {"x"}, 0, "");  // the connection is as good as before
  EXPECT_EQ(values.values.size(), 1);
}

TEST_F(ApiServerTest, GarbageClosesOnlyItsOwnConnection) {
  start();
  Client good(server_->port());
  uint32_t state = 1;
  for (int round = 0; round < 200; ++round) {
    std::string bytes = round % 4 == 0 ? std::string(
                                             "\x80\x01\x00\x01\x00\x00\x00\x0c"
                                             "Control:stop",
                                             20)
                                       : "";
    for (int i = 0; i < 5 + round; ++i) {
      state = state * 1664525 + 1013904223;
      bytes += static_cast<char>(state >> 24);
    }
    RawSocket raw(server_->port());
    ASSERT_TRUE(raw.write(header_of(static_cast<uint32_t>(bytes.size())) + bytes));
    raw.finish();
  }
  RawSocket http(server_->port());
  http.write("GET / HTTP/1.1\r\n\r\n");
  EXPECT_EQ(http.read_to_end(), "");  // "GET " is a length of more than 16 MiB
  api::JobSummary summary;
  good.control.stop(summary, "a");
}

TEST_F(ApiServerTest, HugeContainersStringsAndNestingAreRefused) {
  start();
  // Control:stop with a name that claims 2 GiB; Query:get with a list that claims 2^31-1 elements; a deep nest of
  // unknown structs to skip.
  const std::string stop(
      "\x80\x01\x00\x01\x00\x00\x00\x0c"
      "Control:stop\x00\x00\x00\x01\x0b\x00\x01\x7f\xff\xff\xff",
      31);
  const std::string get(
      "\x80\x01\x00\x01\x00\x00\x00\x09"
      "Query:get\x00\x00\x00\x01\x0f\x00\x02\x0b\x7f\xff\xff\xff",
      29);
  std::string nest(
      "\x80\x01\x00\x01\x00\x00\x00\x0c"
      "Control:stop\x00\x00\x00\x01",
      24);
  for (int i = 0; i < 1'000'000; ++i) nest.append("\x0c\x00\x09", 3);
  for (const std::string& message : {stop, get, nest}) {
    RawSocket raw(server_->port());
    ASSERT_TRUE(raw.write(header_of(static_cast<uint32_t>(message.size())) + message));
    raw.finish();
  }
  expect_alive();
}

TEST_F(ApiServerTest, ASlowClientIsClosedAndHoldsUpNobody) {
  options_.frame_timeout = std::chrono::milliseconds(400);
  options_.idle_timeout = std::chrono::milliseconds(800);
  start();
  RawSocket slow(server_->port());
  RawSocket idle(server_->port());
  ASSERT_TRUE(slow.write(header_of(1000) + "x"));
  expect_alive();
  EXPECT_EQ(slow.read_to_end(), "");
  EXPECT_EQ(idle.read_to_end(), "");
}

TEST_F(ApiServerTest, WaitingQueriesDoNotHoldUpControl) {
  options_.answer_timeout = std::chrono::seconds(30);
  start();
  std::vector<std::jthread> threads;
  for (int i = 0; i < 80; ++i) {
    threads.emplace_back([port = server_->port()] {
      Client client(port);
      api::Values values;
      EXPECT_THROW(client.query.get(values, "silent", {"x"}, 0, ""), apache::thrift::TException);
    });
  }
  while (server_->connections() < 80) std::this_thread::yield();
  const auto begin = std::chrono::steady_clock::now();
  expect_alive();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
  server_.reset();  // answers the queries
}

TEST_F(ApiServerTest, ThousandsOfHalfOpenConnectionsLeaveRoomForARealClient) {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  options_.max_connections = 500;
  start();
  Client early(server_->port());
  api::JobSummary summary;
  early.control.stop(summary, "a");
  const size_t wanted = limit.rlim_cur > 3000 ? 2000 : 400;
  std::vector<std::unique_ptr<RawSocket>> half_open;
  for (size_t i = 0; i < wanted; ++i) {
    half_open.push_back(std::make_unique<RawSocket>(server_->port()));
    ASSERT_TRUE(half_open.back()->connected());
    // Every second one begins the largest message there can be.
    if (i % 2 == 0) half_open.back()->write(header_of(16u << 20) + "x");
  }
  for (int i = 0; i < 20; ++i) expect_alive();
  EXPECT_LE(server_->connections(), 500);
  early.control.stop(summary, "a");  // who has used its connection keeps it
}

TEST(FrameServerTest, NothingIsHandledWhileTooManyAnswersWaitForTheirClients) {
  constexpr size_t kAnswer = 16 << 20;  // more than the kernel takes
  constexpr int kThreads = 2;
  std::atomic<int> handled = 0;
  std::atomic<int> taken = 0;
  std::atomic<int> most = 0;
  FrameServerOptions options;
  options.address = "127.0.0.1:0";
  options.max_large_bytes = kAnswer + 1;  // two are above it
  options.pool_threads = {kThreads};
  auto server = FrameServer::start(
      options, [](std::string_view) { return size_t{0}; },
      [&](std::string_view) {
        const int waiting = ++handled - taken;
        for (int known = most; known < waiting && !most.compare_exchange_weak(known, waiting);) {
        }
        return std::string(kAnswer, 'x');
      });
  ASSERT_TRUE(server) << server.error();
  std::vector<std::unique_ptr<RawSocket>> clients;
  const auto ask = [&] {
    clients.push_back(std::make_unique<RawSocket>((*server)->port()));
    ASSERT_TRUE(clients.back()->write(header_of(1) + "x"));
  };
  // Counted with the first bytes: the server may go on before the client has seen the last ones.
  const auto take = [&](size_t client) {
    EXPECT_TRUE(clients[client]->skip(4));
    ++taken;
    EXPECT_TRUE(clients[client]->skip(kAnswer));
  };
  for (int client = 0; client < 2; ++client) ask();
  while (handled < 2) std::this_thread::yield();
  for (int client = 2; client < 8; ++client) ask();
  take(0);
  take(1);
  std::vector<std::jthread> others;
  for (size_t client = 2; client < clients.size(); ++client) others.emplace_back(take, client);
  others.clear();
  EXPECT_EQ(handled, 8);
  EXPECT_LE(most, 2 + kThreads);
}

TEST_F(ApiServerTest, AnEndingServerAnswersTheCallsUnderWay) {
  options_.change_timeout = std::chrono::seconds(60);
  start();
  std::jthread caller([this] {
    Client client(server_->port());
    api::JobSummary summary;
    try {
      client.control.stop(summary, "silent");
      ADD_FAILURE() << "no answer was given";
    } catch (const api::Failure& failure) {
      EXPECT_EQ(failure.kind, api::ErrorKind::UNAVAILABLE);
    } catch (const apache::thrift::TException&) {
      // Or the connection is closed.
    }
  });
  while (server_->connections() < 1) std::this_thread::yield();
  const auto begin = std::chrono::steady_clock::now();
  server_.reset();
  caller.join();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
}

}  // namespace
}  // namespace millrace
