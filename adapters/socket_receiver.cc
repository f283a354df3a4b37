#include "adapters/socket_receiver.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "adapters/host_lookup.h"
#include "adapters/line_splitter.h"

namespace millrace {
namespace {

using std::chrono::milliseconds;
using Woken = StopSignal::Woken;

constexpr auto kFirstPause = milliseconds(100);
constexpr auto kLongestPause = milliseconds(2000);
constexpr auto kConnectLimit = milliseconds(5000);  // for one address
constexpr size_t kReceiveBytes = 256 << 10;
// A server whose machine is gone ends no connection: it is asked for a sign of life.
constexpr int kAskAfterSeconds = 30;
constexpr int kAskEverySeconds = 10;
constexpr int kAskTimes = 3;

using Addresses = std::vector<SocketAddress>;

// It may take as long as the name servers let it wait, and is left behind by whoever is stopped: none then.
Result<Addresses> look_up(const HostPort& server, const StopSignal& stop) {
  const auto answered = std::make_shared<const FileDescriptor>(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!answered->valid()) return look_up(server);
  HostLookups lookups([answered] { ::eventfd_write(answered->get(), 1); });
  const auto lookup = lookups.begin(server);
  if (!lookup->found() && stop.wait(answered->get(), POLLIN, StopSignal::kNoLimit) == Woken::kStopped)
    return Addresses();
  return *lookup->found();
}

// 0 or an errno.
int connect_to(const SocketAddress& address, const StopSignal& stop, FileDescriptor& connection) {
  connection = FileDescriptor(::socket(address.address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!connection.valid()) return errno;
  if (::connect(connection.get(), address.get(), address.size) != 0) {
    if (errno != EINPROGRESS) return errno;
    const Woken woken = stop.wait(connection.get(), POLLOUT, kConnectLimit);
    if (woken == Woken::kStopped) return ECANCELED;
    if (woken == Woken::kTimeout) return ETIMEDOUT;
    int failure = 0;
    socklen_t size = sizeof(failure);
    if (::getsockopt(connection.get(), SOL_SOCKET, SO_ERROR, &failure, &size) != 0) return errno;
    if (failure != 0) return failure;
  }
  return is_connected_to_itself(connection.get()) ? ECONNREFUSED : 0;
}

void ask_for_signs_of_life(int connection) {
  const auto set = [connection](int level, int option, int value) {
    ::setsockopt(connection, level, option, &value, sizeof(value));
  };
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, kAskAfterSeconds);
  set(IPPROTO_TCP, TCP_KEEPINTVL, kAskEverySeconds);
  set(IPPROTO_TCP, TCP_KEEPCNT, kAskTimes);
}

}  // namespace

SocketReceiver::SocketReceiver(const HostPort& server, size_t max_record_bytes)
    : server_(server), name_(server.text()), max_record_bytes_(max_record_bytes), buffer_(kReceiveBytes) {}

SocketReceiver::~SocketReceiver() {
  stop_.stop();
  if (thread_.joinable()) thread_.join();
}

void SocketReceiver::start(ReceiverTarget& target) {
  target_ = &target;
  thread_ = std::thread([this] { run(); });
}

void SocketReceiver::run() {
  ::pthread_setname_np(::pthread_self(), "receiver");
  auto pause = kFirstPause;
  do {
    const auto connection = connect();
    if (stop_.stopped()) return;
    if (!connection) {
      target_->tell_problem(connection.error().message);
    } else {
      target_->tell_problem("");
      Ended ended = receive(connection->get());
      if (ended.for_good) return;
      if (ended.bytes > 0) pause = kFirstPause;
      if (!ended.problem.empty()) target_->tell_problem(std::move(ended.problem));
    }
  } while (stop_.pause(std::exchange(pause, std::min(2 * pause, kLongestPause))));
}

Result<FileDescriptor> SocketReceiver::connect() const {
  const auto addresses = look_up(server_, stop_);
  if (!addresses) {
    return fail(addresses.error().code, addresses.error().message + "; correct --source or the name service");
  }
  int failure = EADDRNOTAVAIL;
  for (const SocketAddress& address : *addresses) {
    if (stop_.stopped()) break;
    FileDescriptor connection;
    failure = connect_to(address, stop_, connection);
    if (failure != 0) continue;
    ask_for_signs_of_life(connection.get());
    return connection;
  }
  return fail(ErrorCode::kUnavailable, "cannot connect to " + name_ + ": " + std::strerror(failure) +
                                           "; start the server there, or correct --source");
}

SocketReceiver::Ended SocketReceiver::receive(int connection) {
  LineSplitter splitter(max_record_bytes_);
  Ended ended;
  for (;;) {
    ended.for_good = stop_.wait(connection, POLLIN, StopSignal::kNoLimit) == Woken::kStopped;
    if (ended.for_good) return ended;
    const ssize_t count = ::recv(connection, buffer_.data(), buffer_.size(), 0);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (count < 0) {
      ended.problem = "the connection to " + name_ + " broke: " + std::strerror(errno);
      if (const int64_t bytes = splitter.pending_bytes(); bytes > 0) {
        ended.problem += "; the line whose first " + std::to_string(bytes) + " bytes had come is not counted";
      }
      return ended;
    }
    ended.bytes += count;
    const bool over = count == 0;
    ended.for_good = !append(over ? splitter.finish() : splitter.add({buffer_.data(), static_cast<size_t>(count)}));
    if (!over && !ended.for_good) continue;
    if (ended.bytes == 0) ended.problem = name_ + " ends connections without having sent anything";
    return ended;
  }
}

bool SocketReceiver::append(std::span<const std::string_view> lines) {
  if (lines.empty()) return true;
  const int64_t first_line = lines_ + 1;
  lines_ += static_cast<int64_t>(lines.size());
  return target_->append({.lines = lines, .origin = name_, .first_line = first_line});
}

}  // namespace millrace
