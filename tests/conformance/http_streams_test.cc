// Answers that go on.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <thread>

#include "adapters/http_server.h"
#include "tests/conformance/http_client.h"

namespace millrace {
namespace {

using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;

HttpStream::Part part(std::string text) {
  return std::make_shared<const std::string>(std::move(text));
}

class HttpStreamsTest : public testing::Test {
 protected:
  void start(HttpServerOptions options = {}) {
    options.address = "127.0.0.1:0";
    auto server = HttpServer::start(options, [this](HttpRequest, HttpReply reply) {
      HttpResponse head{.type = "text/event-stream", .body = "first\n", .marks_end = marks_end_};
      head.stream = [this](std::shared_ptr<HttpStream> stream) { begun_.set_value(std::move(stream)); };
      reply(std::move(head));
    });
    ASSERT_TRUE(server) << server.error();
    server_ = std::move(*server);
  }
  std::shared_ptr<HttpStream> begin(const HttpClient& client) {
    begun_ = {};
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    return begun_.get_future().get();
  }
  static bool sent_in_time(HttpStream& stream, const HttpStream::Part& text) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (stream.send(text)) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      std::this_thread::yield();
    }
    return true;
  }

  bool marks_end_ = false;
  std::promise<std::shared_ptr<HttpStream>> begun_;
  std::unique_ptr<HttpServer> server_;
};

TEST_F(HttpStreamsTest, PartsGoAsTheyComeUpToTheEnd) {
  start();
  const HttpClient client(server_->port());
  const auto stream = begin(client);
  EXPECT_THAT(client.until("first\n"), AllOf(HasSubstr("HTTP/1.1 200 OK\r\n"), HasSubstr("text/event-stream"),
                                             HasSubstr("Connection: close"), Not(HasSubstr("Content-Length"))));
  for (const char* const text : {"second\n", "third\n"}) {
    EXPECT_TRUE(stream->send(part(text)));
    EXPECT_EQ(client.until("\n"), text);
  }
  std::string all;
  for (int i = 0; i < 1000; ++i) {
    all += std::to_string(i) + " ";
    EXPECT_TRUE(stream->send(part(std::to_string(i) + " ")));
  }
  stream->end();
  EXPECT_FALSE(stream->send(part("late")));
  EXPECT_EQ(client.rest(), all);
}

TEST_F(HttpStreamsTest, OneThatBreaksOffCanBeToldFromOneThatEnds) {
  marks_end_ = true;
  start();
  for (const bool breaks : {false, true}) {
    const HttpClient client(server_->port());
    const auto stream = begin(client);
    std::string all = client.until("first\n");
    EXPECT_THAT(all, HasSubstr("Transfer-Encoding: chunked\r\n"));
    EXPECT_TRUE(stream->send(part("")));
    EXPECT_TRUE(stream->send(part(std::string(17, 'x'))));
    if (breaks) {
      stream->give_up();
    } else {
      stream->end();
    }
    all += client.rest();
    const auto whole = EndsWith("6\r\nfirst\n\r\n11\r\n" + std::string(17, 'x') + "\r\n0\r\n\r\n");
    EXPECT_EQ(testing::Value(all, whole), !breaks) << all;
  }
}

TEST_F(HttpStreamsTest, WhoSendsMoreThanMayWaitSendsItWhenTheLastIsTaken) {
  start({.max_stream_bytes = 100'000});
  const HttpClient client(server_->port());
  const auto stream = begin(client);
  EXPECT_THAT(client.until("first\n"), EndsWith("first\n"));
  constexpr int kParts = 200;
  std::promise<void> done;
  std::function<void(int)> send = [&](int number) {
    if (number == kParts) {
      stream->end();
      return done.set_value();
    }
    EXPECT_TRUE(stream->send(part(std::string(50'000, 'x'))));
    stream->when_taken([&send, number] { send(number + 1); });
  };
  send(0);
  EXPECT_EQ(client.rest().size(), kParts * 50'000U);
  done.get_future().wait();
  bool told = false;
  stream->when_taken([&told] { told = true; });
  EXPECT_TRUE(told) << "nobody reads it any more";
}

TEST_F(HttpStreamsTest, OfAHeadThereIsNoStream) {
  start();
  EXPECT_THAT(http_fetch(server_->port(), "HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
              AllOf(HasSubstr("Content-Length: 6"), EndsWith("\r\n\r\n")));
}

TEST_F(HttpStreamsTest, AReaderThatHasGoneOrDoesNotReadEndsTheStream) {
  start({.max_stream_bytes = 100'000});
  {
    auto client = std::make_unique<HttpClient>(server_->port());
    const auto stream = begin(*client);
    client.reset();
    EXPECT_TRUE(sent_in_time(*stream, part("x")));
  }
  const HttpClient slow(server_->port());
  const auto stream = begin(slow);
  EXPECT_TRUE(sent_in_time(*stream, part(std::string(10'000, 'x'))));
  const HttpClient other(server_->port());
  EXPECT_TRUE(begin(other)->send(part("x"))) << "others are not disturbed";
}

TEST_F(HttpStreamsTest, OnePartMayBeLargerThanWhatMayWait) {
  start({.max_stream_bytes = 1000});
  const HttpClient client(server_->port());
  const auto stream = begin(client);
  EXPECT_THAT(client.until("first\n"), EndsWith("first\n"));
  EXPECT_TRUE(stream->send(part(std::string(1'000'000, 'x') + "\n")));
  EXPECT_EQ(client.until("\n").size(), 1'000'001U);
}

TEST_F(HttpStreamsTest, AReaderMayWaitForLongAndAServerThatEndsEndsItsStreams) {
  start({.idle_timeout = std::chrono::milliseconds(100),
         .request_timeout = std::chrono::milliseconds(100),
         .response_timeout = std::chrono::milliseconds(100)});
  const HttpClient client(server_->port());
  const auto stream = begin(client);
  EXPECT_THAT(client.until("first\n"), EndsWith("first\n"));
  std::this_thread::sleep_for(std::chrono::milliseconds(500));  // what must not happen has no sign
  EXPECT_TRUE(client.silent());
  EXPECT_TRUE(stream->send(part("last\n")));
  EXPECT_EQ(client.until("\n"), "last\n");
  EXPECT_TRUE(server_->drain(std::chrono::seconds(10)));
  EXPECT_EQ(client.rest(), "");
  EXPECT_FALSE(stream->send(part("x")));
  server_.reset();
  stream->end();
}

}  // namespace
}  // namespace millrace
