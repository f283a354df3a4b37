#include "tests/sim/sim_network.h"

#include <xxhash.h>

#include <algorithm>

#include "common/base/check.h"

namespace millrace {
namespace {

// How long a cut goes unnoticed.
constexpr Duration kHeartbeatLeast = std::chrono::milliseconds(500);
constexpr Duration kHeartbeatMost = std::chrono::seconds(3);
constexpr Duration kConnectTimeout = std::chrono::seconds(1);

}  // namespace

struct SimNetwork::Link {
  LinkId id;
  std::string address;
  SimProcess* target = nullptr;  // once connected
  bool up = false;               // the handler was told
  bool broken = false;           // nothing more can be sent; the handler is told a little later
  size_t frames = 0;             // on their way or waiting
  size_t bytes = 0;
  std::vector<Frame> waiting;  // sent before the link was up
  Duration last_arrival{};     // without faults frames keep their order
};

SimNetwork::SimNetwork(World& world, SimProcess& process, SimLoop& loop)
    : world_(world), process_(process), loop_(loop), random_(world.random("network")) {}

Endpoint SimNetwork::local_endpoint() const {
  return process_.endpoint();
}

Duration SimNetwork::latency() {
  const SimFaults& faults = world_.current_faults();
  return random_.between(faults.latency_least, faults.latency_most);
}

bool SimNetwork::cut_from(const Link& link) const {
  const std::string to = link.address.substr(0, link.address.find(':'));
  return world_.is_cut(process_.name(), to) || world_.is_cut(to, process_.name());
}

LinkId SimNetwork::connect(const Endpoint& to) {
  CHECK(loop_.on_loop());
  auto link = std::make_shared<Link>();
  link->id = next_link_;
  link->address = to.address;
  next_link_ = next_link_.next();
  if (!process_.alive()) return link->id;
  links_.emplace(link->id, link);
  world_.trace("connect " + to.address, process_.id());
  world_.add_event(latency(), &loop_, "attempt", [this, link] { attempt(link); });
  return link->id;
}

void SimNetwork::attempt(const LinkPointer& link) {
  if (link->broken) return;
  if (cut_from(*link)) return break_link(link, kConnectTimeout, "no answer");
  SimProcess* target = world_.living(link->address);
  if (target == nullptr || target->network_ == nullptr || random_.chance(world_.current_faults().refuse)) {
    return break_link(link, latency(), "connection refused");
  }
  link->target = target;
  world_.add_event(latency(), &loop_, "up", [this, link] {
    if (link->broken) return;
    link->up = true;
    for (const Frame& frame : std::exchange(link->waiting, {})) launch(link, frame, false);
    if (handler_ != nullptr) handler_->on_link_up(link->id);
  });
}

void SimNetwork::break_link(const LinkPointer& link, Duration notice, const std::string& reason) {
  if (link->broken) return;
  link->broken = true;
  world_.trace("break", link->id.value());
  world_.add_event(notice, &loop_, "down", [this, link, reason] {
    if (links_.erase(link->id) == 0) return;  // disconnect() was faster
    if (handler_ != nullptr) handler_->on_link_down(link->id, reason);
  });
}

bool SimNetwork::send(LinkId id, Frame frame) {
  CHECK(loop_.on_loop());
  const auto found = links_.find(id);
  if (found == links_.end() || !process_.alive()) return false;
  const LinkPointer link = found->second;
  if (world_.frame_tap()) world_.frame_tap()(frame);
  const size_t size = frame.control.size() + frame.bulk.size();
  if (link->frames >= kMaxFrames || (link->frames > 0 && link->bytes + size > kMaxBytes)) return false;
  ++link->frames;
  link->bytes += size;
  if (!link->up) {
    link->waiting.push_back(std::move(frame));
    return true;
  }
  const SimFaults& faults = world_.current_faults();
  if (random_.chance(faults.break_link)) {
    break_link(link, random_.between(Duration(1), std::chrono::milliseconds(5)), "connection reset");
  }
  launch(link, frame, false);
  return true;
}

// Sends one frame on its way, or not.
void SimNetwork::launch(const LinkPointer& link, const Frame& frame, bool repeated) {
  const size_t size = frame.control.size() + frame.bulk.size();
  const SimFaults& faults = world_.current_faults();
  const bool lost = link->broken || random_.chance(faults.lose) || world_.is_cut(process_.name(), link->target->name());
  Duration delay = latency();
  if (world_.slowness().frame) delay += world_.slowness().frame(process_.name(), link->target->name());
  if (random_.chance(faults.slow)) delay += random_.between(Duration::zero(), faults.slowest);
  if (random_.chance(faults.reorder)) {
    delay *= 3;
  } else {
    link->last_arrival = std::max(link->last_arrival, world_.now() + delay);
    delay = link->last_arrival - world_.now();
  }
  // The place in the queue is given back when the frame has gone, wherever to.
  world_.add_event(delay, &loop_, "gone", [link, size, repeated] {
    if (repeated) return;
    --link->frames;
    link->bytes -= size;
  });
  // It arrives even if its sender has crashed on the way: an event of the receiver's loop.
  SimNetwork* receiver = link->target->network_.get();
  if (!lost && link->target->alive()) {
    world_.add_event(delay, &receiver->loop_, "frame", [this, receiver, link, frame] {
      const bool kept = !link->broken || random_.chance(0.5);
      if (kept) receiver->arrive(link, frame);
    });
  }
  if (!repeated && random_.chance(faults.repeat)) launch(link, frame, true);
}

void SimNetwork::arrive(const LinkPointer& link, const Frame& frame) {
  const std::string_view control = frame.control.view();
  world_.trace(control, frame.bulk.size());
  if (handler_ != nullptr) handler_->on_frame(frame, "link " + std::to_string(link->id.value()));
}

void SimNetwork::disconnect(LinkId id) {
  CHECK(loop_.on_loop() || !process_.alive());
  const auto found = links_.find(id);
  if (found == links_.end()) return;
  found->second->broken = true;
  links_.erase(found);
}

void SimNetwork::on_crash_of(const SimProcess& process) {
  for (const auto& [id, link] : links_) {
    if (link->target != &process || link->broken) continue;
    // A cut link hears nothing of it, until heartbeats fail.
    const Duration notice = cut_from(*link) ? random_.between(kHeartbeatLeast, kHeartbeatMost) : latency();
    break_link(link, notice, "connection closed");
  }
}

void SimNetwork::on_cut() {
  for (const auto& [id, link] : links_) {
    if (link->target == nullptr || link->broken || !cut_from(*link)) continue;
    world_.add_event(random_.between(kHeartbeatLeast, kHeartbeatMost), &loop_, "heartbeat", [this, link] {
      if (cut_from(*link)) break_link(link, latency(), "no heartbeat");
    });
  }
}

}  // namespace millrace
