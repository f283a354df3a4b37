#include "adapters/kafka_connection.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>

#include "tests/unit/hex_bytes.h"

namespace millrace {
namespace {

using testing::HasSubstr;
using State = FrameReceiver::State;

bool wait_for(int descriptor, short what) {
  pollfd wanted{descriptor, what, 0};
  return ::poll(&wanted, 1, 10'000) == 1;
}

// Somebody who listens on this machine.
class Listener {
 public:
  Listener() : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    address_ = *numeric_address({"127.0.0.1", 0});
    auto* const own = reinterpret_cast<sockaddr*>(&address_.address);
    EXPECT_EQ(::bind(socket_.get(), own, address_.size), 0);
    EXPECT_EQ(::listen(socket_.get(), 1), 0);
    EXPECT_EQ(::getsockname(socket_.get(), own, &address_.size), 0);
    address_.text = "the broker";
  }
  [[nodiscard]] const SocketAddress& address() const { return address_; }
  [[nodiscard]] FileDescriptor accept() const { return FileDescriptor(::accept(socket_.get(), nullptr, nullptr)); }
  void close() { socket_.reset(); }

 private:
  FileDescriptor socket_;
  SocketAddress address_;
};

KafkaConnection connect_to(const Listener& listener) {
  auto connection = KafkaConnection::begin(listener.address(), {.receive_buffer_bytes = 1 << 20});
  EXPECT_TRUE(connection) << connection.error();
  EXPECT_TRUE(wait_for(connection->descriptor(), POLLOUT));
  EXPECT_TRUE(connection->finish_connecting());
  return std::move(*connection);
}

void write_to(const FileDescriptor& peer, std::string_view bytes) {
  EXPECT_EQ(::send(peer.get(), bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
}

TEST(KafkaConnection, sends_requests_and_receives_frames_in_pieces) {
  const Listener listener;
  KafkaConnection connection = connect_to(listener);
  const FileDescriptor peer = listener.accept();

  ASSERT_TRUE(connection.send("a request"));
  char heard[16];
  EXPECT_EQ(::recv(peer.get(), heard, sizeof heard, 0), 9);

  FrameReceiver receiver(100);
  State state = State::kMore;
  EXPECT_EQ(connection.receive(receiver.room()), 0) << "nothing is there";
  for (const char* const piece : {"00", "0000 06", "0102", "0304", "0506 07"}) {
    EXPECT_EQ(state, State::kMore);
    const std::string bytes = from_hex(piece);
    write_to(peer, bytes);
    for (size_t left = bytes.size(); left > 0 && state == State::kMore;) {
      ASSERT_TRUE(wait_for(connection.descriptor(), POLLIN));
      const auto got = connection.receive(receiver.room());
      ASSERT_TRUE(got && *got <= left);
      left -= *got;
      state = receiver.arrived(*got);
    }
  }
  EXPECT_EQ(state, State::kWhole);
  EXPECT_EQ(receiver.frame(), from_hex("010203040506")) << "and no byte of the next one";
}

TEST(KafkaConnection, says_who_does_not_listen) {
  Listener listener;
  listener.close();
  auto connection = KafkaConnection::begin(listener.address(), {});
  Status status;
  if (connection) {
    ASSERT_TRUE(wait_for(connection->descriptor(), POLLOUT));
    status = connection->finish_connecting();
  } else {
    status = std::unexpected(connection.error());
  }
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, ErrorCode::kUnavailable);
  EXPECT_THAT(status.error().message, HasSubstr("the broker: Connection refused"));
}

TEST(KafkaConnection, notices_its_end) {
  const Listener listener;
  KafkaConnection connection = connect_to(listener);
  listener.accept().reset();
  ASSERT_TRUE(wait_for(connection.descriptor(), POLLIN));
  char room[1];
  const auto got = connection.receive(room);
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, ErrorCode::kUnavailable);
  EXPECT_THAT(got.error().message, HasSubstr("closed"));
}

TEST(KafkaConnection, takes_numbers_for_addresses_and_no_names) {
  EXPECT_EQ(numeric_address({"127.0.0.1", 9092})->text, "127.0.0.1:9092");
  EXPECT_EQ(numeric_address({"::1", 9092})->text, "[::1]:9092");
  EXPECT_FALSE(numeric_address({"localhost", 9092}));
}

TEST(FrameReceiver, refuses_sizes_that_cannot_be) {
  for (const char* const size : {"ffffffff", "00000000", "00000004", "00000065", "7fffffff"}) {
    FrameReceiver receiver(100);
    from_hex(size).copy(receiver.room().data(), 4);
    EXPECT_EQ(receiver.arrived(4), State::kBroken) << size;
  }
}

}  // namespace
}  // namespace millrace
