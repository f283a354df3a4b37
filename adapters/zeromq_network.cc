#include "adapters/zeromq_network.h"

#include <algorithm>
#include <utility>

#include "adapters/zeromq_io.h"
#include "common/base/check.h"

namespace millrace {
namespace {

// Events handled before other tasks of the loop have their turn.
constexpr size_t kBurst = 256;

size_t size_of(const Frame& frame) {
  return frame.control.size() + frame.bulk.size();
}

std::string host_of(const std::string& address) {
  return address.substr(0, address.rfind(':'));
}

bool is_wildcard(const std::string& host) {
  return host == "*" || host == "0.0.0.0" || host == "[::]" || host == "::" || host.empty();
}

Status check(const ZeroMqOptions& options) {
  const size_t colon = options.listen.rfind(':');
  const std::string port = colon == std::string::npos ? "" : options.listen.substr(colon + 1);
  const bool digits = !port.empty() && port.size() <= 5 && port.find_first_not_of("0123456789") == std::string::npos;
  if (!digits || std::stoi(port) > 65535) {
    return fail(ErrorCode::kInvalid, "'" + options.listen + "' is no HOST:PORT; correct --listen");
  }
  if (options.advertise.empty() && is_wildcard(host_of(options.listen))) {
    return fail(ErrorCode::kInvalid, "nobody can be told to connect to '" + options.listen +
                                         "'; name this host as others see it by --advertise=HOST");
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<ZeroMqNetwork>> ZeroMqNetwork::open(ZeroMqOptions options, TaskLoop& loop) {
  if (Status status = check(options); !status) return std::unexpected(std::move(status.error()));
  auto io = ZeroMqIo::open(options);
  if (!io) return std::unexpected(std::move(io.error()));
  return std::unique_ptr<ZeroMqNetwork>(new ZeroMqNetwork(options, loop, std::move(*io)));
}

ZeroMqNetwork::ZeroMqNetwork(const ZeroMqOptions& options, TaskLoop& loop, std::unique_ptr<ZeroMqIo> io)
    : options_(options), loop_(loop), io_(std::move(io)) {
  const std::string host = options.advertise.empty() ? host_of(options.listen) : options.advertise;
  local_ = {host + ":" + std::to_string(io_->port())};
  io_->start([this, alive = std::weak_ptr(alive_)] {
    loop_.post([this, alive] {
      if (alive.expired()) return;
      const bool idle = arrived_.empty();
      for (ZeroMqEvent& event : io_->take_events()) arrived_.push_back(std::move(event));
      if (idle) drain();
    });
  });
}

ZeroMqNetwork::~ZeroMqNetwork() = default;

LinkId ZeroMqNetwork::connect(const Endpoint& to) {
  const LinkId link = next_link_;
  next_link_ = next_link_.next();
  auto queue = std::make_shared<ZeroMqLinkQueue>();
  links_.emplace(link, queue);
  io_->push({ZeroMqCommand::Kind::kConnect, link, to.address, {}, std::move(queue)});
  return link;
}

bool ZeroMqNetwork::send(LinkId link, Frame frame) {
  CHECK_LE(frame.control.size(), options_.max_part_bytes);
  CHECK_LE(frame.bulk.size(), options_.max_part_bytes) << "a block without a bound";
  const auto found = links_.find(link);
  if (found == links_.end()) return false;
  ZeroMqLinkQueue& queue = *found->second;
  const size_t size = size_of(frame);
  const size_t frames = queue.frames;
  if (frames >= options_.max_queued_frames) return false;
  if (frames > 0 && queue.bytes + size > options_.max_queued_bytes) return false;
  ++queue.frames;
  queue.bytes += size;
  io_->push({ZeroMqCommand::Kind::kSend, link, {}, std::move(frame), nullptr});
  return true;
}

void ZeroMqNetwork::disconnect(LinkId link) {
  if (links_.erase(link) == 0) return;
  io_->push({ZeroMqCommand::Kind::kDisconnect, link, {}, {}, nullptr});
}

uint64_t ZeroMqNetwork::malformed_messages() const {
  return io_->malformed();
}

void ZeroMqNetwork::drain() {
  size_t frames = 0;
  size_t bytes = 0;
  for (size_t i = 0; i < kBurst && !arrived_.empty(); ++i) {
    ZeroMqEvent event = std::move(arrived_.front());
    arrived_.pop_front();
    if (event.kind == ZeroMqEvent::Kind::kFrame) {
      ++frames;
      bytes += size_of(event.frame);
    }
    handle(event);
  }
  if (frames > 0) io_->release(frames, bytes);
  if (arrived_.empty()) return;
  loop_.post([this, alive = std::weak_ptr(alive_)] {
    if (!alive.expired()) drain();
  });
}

void ZeroMqNetwork::handle(ZeroMqEvent& event) {
  switch (event.kind) {
    case ZeroMqEvent::Kind::kFrame:
      if (handler_ != nullptr) handler_->on_frame(std::move(event.frame), event.text);
      return;
    case ZeroMqEvent::Kind::kUp:
      if (links_.contains(event.link) && handler_ != nullptr) handler_->on_link_up(event.link);
      return;
    case ZeroMqEvent::Kind::kDown:
      if (links_.erase(event.link) > 0 && handler_ != nullptr) handler_->on_link_down(event.link, event.text);
      return;
  }
}

}  // namespace millrace
