#include "adapters/kafka_connection.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "adapters/kafka_messages.h"
#include "common/base/check.h"

namespace millrace {
namespace {

void set_option(int socket, int level, int option, int value) {
  ::setsockopt(socket, level, option, &value, sizeof value);  // A wish: refused is fine.
}

std::unexpected<Error> broken_by(const std::string& peer, int error) {
  return fail(ErrorCode::kUnavailable, peer + ": " + std::strerror(error));
}

}  // namespace

Result<KafkaConnection> KafkaConnection::begin(const SocketAddress& address, const Settings& settings) {
  FileDescriptor socket(::socket(address.address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return broken_by(address.text, errno);
  set_option(socket.get(), IPPROTO_TCP, TCP_NODELAY, 1);
  if (settings.keepalive) set_option(socket.get(), SOL_SOCKET, SO_KEEPALIVE, 1);
  if (settings.receive_buffer_bytes > 0) {
    set_option(socket.get(), SOL_SOCKET, SO_RCVBUF, settings.receive_buffer_bytes);
  }
  if (::connect(socket.get(), address.get(), address.size) != 0 && errno != EINPROGRESS)
    return broken_by(address.text, errno);
  return KafkaConnection(std::move(socket), address.text);
}

std::unexpected<Error> KafkaConnection::failed(int error) const {
  return broken_by(peer_, error);
}

Status KafkaConnection::finish_connecting() {
  int error = 0;
  socklen_t size = sizeof error;
  if (::getsockopt(descriptor(), SOL_SOCKET, SO_ERROR, &error, &size) != 0) return failed(errno);
  if (error == 0 && is_connected_to_itself(descriptor())) error = ECONNREFUSED;
  if (error != 0) return failed(error);
  return {};
}

Status KafkaConnection::send(std::string_view frame) {
  const ssize_t sent = ::send(descriptor(), frame.data(), frame.size(), MSG_NOSIGNAL);
  if (sent < 0) return failed(errno);
  if (static_cast<size_t>(sent) < frame.size()) return failed(ENOBUFS);
  return {};
}

Result<size_t> KafkaConnection::receive(std::span<char> room) {
  CHECK(!room.empty());
  const ssize_t got = ::recv(descriptor(), room.data(), room.size(), 0);
  if (got > 0) return static_cast<size_t>(got);
  if (got == 0) return fail(ErrorCode::kUnavailable, peer_ + ": it has closed the connection");
  if (errno == EAGAIN || errno == EINTR) return 0;
  return failed(errno);
}

FrameReceiver::State FrameReceiver::arrived(size_t bytes) {
  received_ += bytes;
  if (received_ < bytes_.size()) return State::kMore;
  if (received_ > sizeof(int32_t)) return State::kWhole;
  const auto size = frame_size(bytes_, most_bytes_);
  if (!size) return State::kBroken;
  bytes_.resize(sizeof(int32_t) + *size);
  return State::kMore;
}

}  // namespace millrace
