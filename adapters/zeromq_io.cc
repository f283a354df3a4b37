#include "adapters/zeromq_io.h"

#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>

#include "common/base/check.h"

namespace millrace {
namespace {

// Messages read before commands and monitors have their turn.
constexpr int kReadBurst = 256;
// Messages that ZeroMQ itself holds for us per connection, while we do not read.
constexpr int kReceiveWater = 128;
constexpr int kMaxSockets = 30'000;

int ms(Duration duration) {
  return static_cast<int>(to_ms(duration));
}

// Keeps a buffer as long as ZeroMQ needs it, and counts the frame's end for the part that has a queue.
struct Hold {
  SharedBuffer buffer;
  std::shared_ptr<ZeroMqLinkQueue> queue;
  size_t frame_bytes = 0;
  // Orders the making before the end, in another thread, for checkers that do not see into ZeroMQ's queues.
  std::atomic<bool> made = false;

  static void free(void* /*data*/, void* hint) {
    const std::unique_ptr<Hold> hold(static_cast<Hold*>(hint));
    CHECK(hold->made.load(std::memory_order_acquire));
    if (hold->queue == nullptr) return;
    hold->queue->bytes -= hold->frame_bytes;
    --hold->queue->frames;
  }
};

// The bytes are only read; ZeroMQ's interface has no const form.
zmq::message_t message_of(const SharedBuffer& buffer, std::shared_ptr<ZeroMqLinkQueue> queue, size_t frame_bytes) {
  auto hold = std::make_unique<Hold>(buffer, std::move(queue), frame_bytes);
  hold->made.store(true, std::memory_order_release);
  void* bytes = const_cast<char*>(buffer.view().data());
  zmq::message_t message(bytes, buffer.size(), &Hold::free, hold.get());
  (void)hold.release();
  return message;
}

SharedBuffer buffer_of(zmq::message_t message) {
  auto owner = std::make_shared<zmq::message_t>(std::move(message));
  const std::string_view bytes(static_cast<const char*>(owner->data()), owner->size());
  return {std::move(owner), bytes};
}

std::string peer_address(zmq::message_t& message) {
  const char* address = zmq_msg_gets(message.handle(), "Peer-Address");
  return address == nullptr ? "unknown" : address;
}

Error bind_error(const zmq::error_t& error, const std::string& listen) {
  switch (error.num()) {
    case EADDRINUSE:
      return {ErrorCode::kExists,
              "the port of " + listen + " is in use by another process; end it or choose another --listen"};
    case EMFILE:
    case ENFILE:
      return {ErrorCode::kUnavailable,
              "no file descriptors left to listen on " + listen + "; raise the limit (ulimit -n)"};
    case EADDRNOTAVAIL:
    case ENODEV:
      return {ErrorCode::kInvalid, "this host has no address " + listen + "; give a numeric address of it in --listen"};
    default: return {ErrorCode::kInvalid, "cannot listen on " + listen + ": " + error.what() + "; correct --listen"};
  }
}

}  // namespace

ZeroMqIo::ZeroMqIo(const ZeroMqOptions& options) : options_(options) {}

Result<std::unique_ptr<ZeroMqIo>> ZeroMqIo::open(const ZeroMqOptions& options) {
  std::unique_ptr<ZeroMqIo> io(new ZeroMqIo(options));
  if (Status status = io->bind(); !status) return std::unexpected(std::move(status.error()));
  return io;
}

Status ZeroMqIo::bind() {
  try {
    wake_fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (wake_fd_ < 0) throw zmq::error_t();
    context_.set(zmq::ctxopt::max_sockets, kMaxSockets);
    router_ = zmq::socket_t(context_, zmq::socket_type::router);
    set_common_options(router_);
    router_.set(zmq::sockopt::router_mandatory, true);
    router_.set(zmq::sockopt::rcvhwm, kReceiveWater);
    router_.set(zmq::sockopt::sndhwm, 1);  // it sends nothing
    router_.set(zmq::sockopt::linger, 0);
    router_.set(zmq::sockopt::backlog, 1024);
    router_.bind("tcp://" + options_.listen);
    const auto bound = router_.get(zmq::sockopt::last_endpoint);
    port_ = std::stoi(bound.substr(bound.rfind(':') + 1));
  } catch (const zmq::error_t& error) {
    return std::unexpected(bind_error(error, options_.listen));
  }
  return {};
}

void ZeroMqIo::set_common_options(zmq::socket_t& socket) const {
  socket.set(zmq::sockopt::maxmsgsize, static_cast<int64_t>(options_.max_part_bytes));
  socket.set(zmq::sockopt::handshake_ivl, ms(options_.handshake_timeout));
  socket.set(zmq::sockopt::heartbeat_ivl, ms(options_.heartbeat_interval));
  socket.set(zmq::sockopt::heartbeat_timeout, ms(options_.heartbeat_timeout));
  socket.set(zmq::sockopt::heartbeat_ttl, ms(options_.heartbeat_timeout));
  if (options_.listen.find('[') != std::string::npos) socket.set(zmq::sockopt::ipv6, true);
}

void ZeroMqIo::start(std::function<void()> on_events) {
  on_events_ = std::move(on_events);
  thread_ = std::thread([this] { run(); });
}

ZeroMqIo::~ZeroMqIo() {
  stopping_ = true;
  wake();
  if (thread_.joinable()) thread_.join();
  router_.close();
  context_.close();  // waits for what lingers
  if (wake_fd_ >= 0) ::close(wake_fd_);
}

void ZeroMqIo::wake() {
  const uint64_t one = 1;
  // It can only fail by a counter that is already high, which wakes as well.
  [[maybe_unused]] const ssize_t written = ::write(wake_fd_, &one, sizeof one);
}

void ZeroMqIo::push(ZeroMqCommand command) {
  bool first = false;
  {
    const std::lock_guard lock(mutex_);
    first = commands_.empty();
    commands_.push_back(std::move(command));
  }
  if (first) wake();
}

std::vector<ZeroMqEvent> ZeroMqIo::take_events() {
  const std::lock_guard lock(mutex_);
  return std::exchange(events_, {});
}

void ZeroMqIo::emit(ZeroMqEvent event) {
  bool first = false;
  {
    const std::lock_guard lock(mutex_);
    first = events_.empty();
    events_.push_back(std::move(event));
  }
  if (first) on_events_();
}

bool ZeroMqIo::full() const {
  return arrived_frames_ >= options_.max_arrived_frames || arrived_bytes_ >= options_.max_arrived_bytes;
}

void ZeroMqIo::release(size_t frames, size_t bytes) {
  arrived_frames_ -= frames;
  arrived_bytes_ -= bytes;
  if (paused_ && !full()) wake();
}

void ZeroMqIo::run() {
  pthread_setname_np(pthread_self(), "network");
  while (!stopping_) {
    try {
      poll_once();
    } catch (const zmq::error_t& error) {
      if (error.num() == EINTR) continue;
      LOG_EVERY_N(ERROR, 100) << "network: " << error.what();
    }
  }
  run_commands();
  for (auto& [id, link] : links_) {
    link.dealer.set(zmq::sockopt::linger, link.up ? ms(options_.linger) : 0);
    close(link);
  }
  links_.clear();
}

void ZeroMqIo::poll_once() {
  std::vector<zmq::pollitem_t> items;
  std::vector<LinkId> polled;
  items.push_back({nullptr, wake_fd_, ZMQ_POLLIN, 0});
  paused_ = full();
  // Looked at again: release() may have come between the two and not have seen paused_.
  if (paused_ && !full()) paused_ = false;
  items.push_back({router_.handle(), 0, static_cast<short>(paused_ ? 0 : ZMQ_POLLIN), 0});
  std::optional<TimePoint> deadline;
  for (auto& [id, link] : links_) {
    items.push_back({link.monitor.handle(), 0, ZMQ_POLLIN, 0});
    polled.push_back(id);
    if (!link.up) deadline = std::min(deadline.value_or(link.deadline), link.deadline);
  }
  std::chrono::milliseconds timeout(-1);
  if (deadline) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(*deadline - std::chrono::steady_clock::now());
    timeout = std::max(left, std::chrono::milliseconds(0));
  }
  zmq::poll(items, timeout);
  if ((items[0].revents & ZMQ_POLLIN) != 0) {
    uint64_t count = 0;
    [[maybe_unused]] const ssize_t size = ::read(wake_fd_, &count, sizeof count);
    run_commands();
  }
  if ((items[1].revents & ZMQ_POLLIN) != 0) read_router();
  for (size_t i = 0; i < polled.size(); ++i) {
    if ((items[i + 2].revents & ZMQ_POLLIN) != 0) read_monitor(polled[i]);
  }
  if (deadline) check_deadlines();
}

void ZeroMqIo::run_commands() {
  std::vector<ZeroMqCommand> commands;
  {
    const std::lock_guard lock(mutex_);
    commands.swap(commands_);
  }
  for (ZeroMqCommand& command : commands) {
    switch (command.kind) {
      case ZeroMqCommand::Kind::kConnect: connect(command); break;
      case ZeroMqCommand::Kind::kSend: send(command); break;
      case ZeroMqCommand::Kind::kDisconnect:
        if (const auto found = links_.find(command.link); found != links_.end()) {
          close(found->second);
          links_.erase(found);
        }
        break;
    }
  }
}

void ZeroMqIo::connect(ZeroMqCommand& command) {
  Link link;
  link.address = command.address;
  link.queue = std::move(command.queue);
  link.deadline = std::chrono::steady_clock::now() + options_.connect_timeout;
  try {
    link.dealer = zmq::socket_t(context_, zmq::socket_type::dealer);
    set_common_options(link.dealer);
    if (link.address.find('[') != std::string::npos) link.dealer.set(zmq::sockopt::ipv6, true);
    link.dealer.set(zmq::sockopt::reconnect_ivl, -1);
    link.dealer.set(zmq::sockopt::connect_timeout, ms(options_.connect_timeout));
    link.dealer.set(zmq::sockopt::linger, 0);
    link.dealer.set(zmq::sockopt::rcvhwm, 1);  // nobody sends on it
    // Ours is the bound; ZeroMQ learns in steps of half its mark what has gone out.
    link.dealer.set(zmq::sockopt::sndhwm, static_cast<int>(2 * options_.max_queued_frames + 16));
    const std::string name = "inproc://monitor-" + std::to_string(command.link.value());
    const int events = ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL |
                       ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH | ZMQ_EVENT_CLOSED |
                       ZMQ_EVENT_DISCONNECTED;
    if (zmq_socket_monitor(link.dealer.handle(), name.c_str(), events) != 0) throw zmq::error_t();
    link.monitor = zmq::socket_t(context_, zmq::socket_type::pair);
    link.monitor.set(zmq::sockopt::linger, 0);
    link.monitor.connect(name);
    link.dealer.connect("tcp://" + link.address);
  } catch (const zmq::error_t& error) {
    const bool descriptors = error.num() == EMFILE || error.num() == ENFILE;
    emit({ZeroMqEvent::Kind::kDown,
          command.link,
          "cannot connect to '" + link.address + "': " + error.what() +
              (descriptors ? "; raise the limit (ulimit -n)" : ""),
          {}});
    return;
  }
  links_.emplace(command.link, std::move(link));
}

void ZeroMqIo::send(ZeroMqCommand& command) {
  const auto found = links_.find(command.link);
  if (found == links_.end()) return;  // it went down on the way
  Link& link = found->second;
  const Frame& frame = command.frame;
  const bool with_bulk = !frame.bulk.empty();
  try {
    auto control = message_of(frame.control, link.queue, frame.control.size() + frame.bulk.size());
    const auto flags = zmq::send_flags::dontwait;
    bool taken = link.dealer.send(control, with_bulk ? flags | zmq::send_flags::sndmore : flags).has_value();
    if (taken && with_bulk) {
      auto bulk = message_of(frame.bulk, nullptr, 0);
      taken = link.dealer.send(bulk, flags).has_value();
    }
    // The pipe is gone with the connection, and the monitor's notice is on its way; or a bug of ours.
    if (!taken) end_link(command.link, "the connection to " + link.address + " takes no more frames");
  } catch (const zmq::error_t& error) {
    end_link(command.link, "the connection to " + link.address + " failed: " + error.what());
  }
}

void ZeroMqIo::read_monitor(LinkId id) {
  for (auto found = links_.find(id); found != links_.end(); found = links_.find(id)) {
    Link& link = found->second;
    zmq::message_t event;
    zmq::message_t address;
    if (!link.monitor.recv(event, zmq::recv_flags::dontwait)) return;
    if (event.more()) (void)link.monitor.recv(address, zmq::recv_flags::dontwait);
    uint16_t kind = 0;
    CHECK_GE(event.size(), sizeof kind);
    std::copy_n(static_cast<const char*>(event.data()), sizeof kind, reinterpret_cast<char*>(&kind));
    switch (kind) {
      case ZMQ_EVENT_HANDSHAKE_SUCCEEDED:
        link.up = true;
        emit({ZeroMqEvent::Kind::kUp, id, {}, {}});
        break;
      case ZMQ_EVENT_DISCONNECTED:
        end_link(id, link.up ? "the connection to " + link.address + " was closed"
                             : link.address + " answers, but does not speak this protocol");
        break;
      case ZMQ_EVENT_CLOSED: end_link(id, "nobody listens at " + link.address); break;
      default: end_link(id, "the handshake with " + link.address + " failed"); break;
    }
  }
}

void ZeroMqIo::read_router() {
  for (int i = 0; i < kReadBurst && !full(); ++i) {
    if (!read_message()) return;
  }
}

bool ZeroMqIo::read_message() {
  constexpr size_t kMostParts = 3;  // who sent it, control, bulk
  std::vector<zmq::message_t> parts;
  size_t count = 0;
  for (bool more = true; more; ++count) {
    zmq::message_t part;
    if (!router_.recv(part, zmq::recv_flags::dontwait)) break;
    more = part.more();
    if (count < kMostParts) parts.push_back(std::move(part));
  }
  if (count == 0) return false;
  if (count < 2 || count > kMostParts) {
    ++malformed_;
    return true;
  }
  ZeroMqEvent event{ZeroMqEvent::Kind::kFrame, LinkId(), peer_address(parts[1]), {}};
  event.frame.control = buffer_of(std::move(parts[1]));
  if (count == kMostParts) event.frame.bulk = buffer_of(std::move(parts[2]));
  ++arrived_frames_;
  arrived_bytes_ += event.frame.control.size() + event.frame.bulk.size();
  emit(std::move(event));
  return true;
}

void ZeroMqIo::check_deadlines() {
  const auto now = std::chrono::steady_clock::now();
  std::vector<LinkId> late;
  for (const auto& [id, link] : links_) {
    if (!link.up && link.deadline <= now) late.push_back(id);
  }
  for (const LinkId id : late) end_link(id, "no answer from " + links_.at(id).address + "; is the host name right?");
}

void ZeroMqIo::end_link(LinkId id, const std::string& reason) {
  const auto found = links_.find(id);
  if (found == links_.end()) return;
  close(found->second);
  links_.erase(found);
  emit({ZeroMqEvent::Kind::kDown, id, reason, {}});
}

void ZeroMqIo::close(Link& link) {
  zmq_socket_monitor(link.dealer.handle(), nullptr, 0);
  link.monitor.close();
  link.dealer.close();
}

}  // namespace millrace
