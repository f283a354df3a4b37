// Readers that follow a job's changes, from the API server with a fake service behind it to the command line.
#include <gmock/gmock.h>

#include <thread>

#include "client/connection.h"
#include "common/api/change_position.h"
#include "tests/conformance/client_fixture.h"

namespace millrace {
namespace {

using testing::HasSubstr;

class ChangesTest : public ClientTest {
 protected:
  Result<api::Changes> ask(const api::ChangesRequest& request) {
    std::ostringstream out, err;
    client::Session session{.out = out, .err = err};
    session.master = {"127.0.0.1", server_->port()};
    client::Connection connection(session);
    return connection.call<api::Changes>(
        [&](auto& services, auto& answer) { services.query.changes(answer, request); });
  }
};

TEST_F(ChangesTest, EachKeyIsPrintedOnceABatchWithItsLastValue) {
  const Done text = run({"changes", "a", "--batches", "2"});
  EXPECT_EQ(text.code, 0);
  EXPECT_EQ(text.out, "8\ta\t2\n8\tb\t-\n9\ta\t2\n9\tb\t-\n");
  EXPECT_EQ(text.err, "millrace: changes after batch 7\n");
  const Done json = run({"--json", "changes", "a", "--batches", "1"});
  EXPECT_EQ(json.out,
            "{\"position\":\"0123456789abcdef-0-7\",\"batch\":7,\"reset\":true}\n"
            "{\"position\":\"0123456789abcdef-0-8\",\"batch\":8,\"changes\":[{\"word\":\"a\",\"count\":2},"
            "{\"word\":\"b\",\"count\":null}]}\n");
}

TEST_F(ChangesTest, AReaderGoesOnFromAPositionAndIsToldOfWhatItCannotBeTold) {
  const Done after = run({"changes", "a", "--after", "0123456789abcdef-0-20", "--batches", "1"});
  EXPECT_EQ(after.out, "21\ta\t2\n21\tb\t-\n");
  EXPECT_EQ(after.err, "");
  const Done lost = run({"changes", "outrun", "--batches", "2"});
  EXPECT_EQ(lost.out, "8\ta\t2\n8\tb\t-\n16\ta\t2\n16\tb\t-\n");
  EXPECT_THAT(lost.err, HasSubstr("what changed up to batch 15 cannot be told any more"));
}

TEST_F(ChangesTest, WhatCannotBeRightIsRefused) {
  for (const char* const position : {"7", "0123456789abcdef-0", "0123456789abcdef--7", "0123456789abcdef-0-7x",
                                     "xyz-0-7", "0123456789abcdef-0--7"}) {
    const Done refused = run({"changes", "a", "--after", position});
    EXPECT_EQ(refused.code, 2);
    EXPECT_THAT(refused.err, HasSubstr("is no position"));
  }
  EXPECT_EQ(run({"changes", "missing"}).code, 1);
  api::ChangesRequest request;
  request.name = "a";
  request.wait_ms = 30'001;
  EXPECT_EQ(ask(request).error().code, ErrorCode::kInvalid);
}

TEST_F(ChangesTest, ReadersThatWaitDoNotHoldUpQueries) {
  std::vector<std::jthread> threads;
  for (int i = 0; i < 80; ++i) {
    threads.emplace_back([this] {
      api::ChangesRequest request;
      request.name = "silent";
      request.wait_ms = 20'000;
      EXPECT_FALSE(ask(request));
    });
  }
  while (server_->connections() < 80) std::this_thread::yield();
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(run({"get", "a", "x"}).code, 0);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
  server_.reset();  // answers them
}

}  // namespace
}  // namespace millrace
