// Profiles of batches, from the API server with a fake service behind it to the command line.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "adapters/api_server.h"
#include "client/connection.h"
#include "client/session.h"
#include "common/runtime/event_loop.h"
#include "tests/fakes/fake_api_service.h"

namespace millrace {
namespace {

class BatchesTest : public testing::Test {
 protected:
  void SetUp() override {
    loop_.start();
    ApiServerOptions options;
    options.address = "127.0.0.1:0";
    auto server = ApiServer::start(options, loop_, service_, nullptr);
    ASSERT_TRUE(server) << server.error();
    server_ = std::move(*server);
  }
  void TearDown() override {
    server_.reset();
    loop_.stop();
    loop_.join();
  }
  [[nodiscard]] std::string address() const { return "127.0.0.1:" + std::to_string(server_->port()); }
  // The exit code; what is printed is in out_.
  int run(const std::vector<std::string>& arguments) {
    std::ostringstream out;
    std::ostringstream err;
    client::Session session{.out = out, .err = err};
    std::vector<std::string> all = {"--api", address(), "--wait=0s", "describe"};
    all.insert(all.end(), arguments.begin(), arguments.end());
    const int code = client::run_client(all, session);
    out_ = out.str();
    return code;
  }
  Result<api::BatchProfiles> ask(const std::string& name, int32_t n, int64_t before) {
    std::ostringstream out;
    std::ostringstream err;
    client::Session session{.out = out, .err = err};
    session.master = {"127.0.0.1", server_->port()};
    client::Connection connection(session);
    return connection.call<api::BatchProfiles>(
        [&](auto& services, auto& answer) { services.control.batches(answer, name, n, before); });
  }

  std::string refusal(const std::string& name, int32_t n, int64_t before) {
    const auto answer = ask(name, n, before);
    return answer ? "" : answer.error().message;
  }

  EventLoop loop_{"test"};
  FakeApiService service_{loop_};
  std::unique_ptr<ApiServer> server_;
  std::string out_;
};

TEST_F(BatchesTest, ThoseThatAreAskedForComeAndWhatCannotBeRightIsRefused) {
  const auto page = ask("a", 3, 20);
  ASSERT_TRUE(page) << page.error();
  ASSERT_EQ(page->batches.size(), 3u);
  EXPECT_EQ(page->batches[2].batch, 19);
  EXPECT_EQ(refusal("missing", 3, 0), "there is no job 'missing'");
  EXPECT_EQ(refusal("a", 0, 0), "n is 0; it must be 1 to 600");
  EXPECT_EQ(refusal("a", 601, 0), "n is 601; it must be 1 to 600");
  EXPECT_EQ(refusal("a", 1, -1), "before is -1; it must be at least 0");
  EXPECT_THAT(refusal("", 1, 0), testing::HasSubstr("the job name"));
}

TEST_F(BatchesTest, SoManyAreShownAsAreAskedFor) {
  const auto shown = [&](const std::vector<std::string>& number) {
    std::vector<std::string> command = {"wc", "--json", "--batches"};
    command.insert(command.end(), number.begin(), number.end());
    EXPECT_EQ(run(command), 0);
    const auto batches = nlohmann::json::parse(out_)["batches"];
    EXPECT_EQ(batches.back()["batch"], 999);
    return batches.size();
  };
  EXPECT_EQ(shown({}), 20u);
  EXPECT_EQ(shown({"3"}), 3u);
  EXPECT_EQ(shown({"600"}), 600u);
  for (const auto& [n, lines] : {std::pair("3", 3), std::pair("600", 600)}) {
    EXPECT_EQ(run({"wc", "--batches", n}), 0);
    // Titles, lines, p50, p99, max, and what the numbers are.
    EXPECT_EQ(std::ranges::count(out_, '\n'), 1 + lines + 3 + 1) << out_;
  }
  for (const char* wrong : {"0", "601", "-1", "many"}) EXPECT_EQ(run({"wc", "--batches", wrong}), 2) << wrong;
}

}  // namespace
}  // namespace millrace
