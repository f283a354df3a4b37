// Network: frames between processes. Each process has one endpoint on which it receives, and one outgoing link
// per peer on which it sends; a link that breaks is noticed at once.
//
// The network may lose, delay, repeat and reorder frames (the fake does so on purpose; ZeroMQ loses them when a
// connection breaks). Order and completeness are made above it, by Messenger (common/runtime/messenger.h), which
// is the only user of this seam.
//
// Real: ZeroMQ, a ROUTER that receives and a monitored DEALER per link (adapters/zeromq_network.h).
// Fake: the simulator's network.
#pragma once

#include <string>

#include "common/base/buffer.h"
#include "common/base/error.h"
#include "common/base/ids.h"

namespace millrace {

// "host:port". Empty is "none".
struct Endpoint {
  std::string address;
  auto operator<=>(const Endpoint&) const = default;
};

struct LinkIdTag {};
using LinkId = StrongInt<LinkIdTag, uint64_t>;  // of an outgoing link, unique in its process; 0 is none

// A control part (an encoded wire::Envelope) and an optional bulk part that is never copied.
struct Frame {
  SharedBuffer control;
  SharedBuffer bulk;
};

// Called on the loop that the network was made for.
class NetworkHandler {
 public:
  virtual ~NetworkHandler() = default;
  // The link is up; frames sent before this are kept up to the bound.
  virtual void on_link_up(LinkId link) = 0;
  // The link broke, could not be made, or its handshake failed; the id is dead. `reason` is for people.
  virtual void on_link_down(LinkId link, const std::string& reason) = 0;
  // A frame arrived from somebody. `from` is the sender's address, for the log only: who it is stands in the frame.
  virtual void on_frame(Frame frame, const std::string& from) = 0;
};

// Lives on one loop: all methods are called from it, the handler is called on it.
class Network {
 public:
  virtual ~Network() = default;

  // Where others reach this process (with the port that was really bound). Set before the first connect.
  [[nodiscard]] virtual Endpoint local_endpoint() const = 0;
  virtual void set_handler(NetworkHandler* handler) = 0;  // outlives the network, or nullptr

  // Starts a link; the outcome comes by on_link_up or on_link_down.
  virtual LinkId connect(const Endpoint& to) = 0;
  // Queues a frame. False: the link is dead or its bounded queue is full; the frame was not taken.
  virtual bool send(LinkId link, Frame frame) = 0;
  // Ends a link without a call of on_link_down. Frames still queued are dropped.
  virtual void disconnect(LinkId link) = 0;
};

}  // namespace millrace
