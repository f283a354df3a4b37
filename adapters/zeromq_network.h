// ZeroMqNetwork: the Network over TCP by ZeroMQ: one ROUTER that only receives and one DEALER per link that only
// sends, each with a monitor, so that a closed connection ends its link at once. There is no reconnecting below
// Messenger: a link that broke is dead.
//
// All sockets belong to one thread of its own; calls from the loop reach it by a queue and an eventfd, what arrives
// is posted to the loop. Bulk bytes are copied neither on the way out (the message holds the SharedBuffer until it is
// sent) nor on the way in (the SharedBuffer holds the message).
//
// Bounds: frames and bytes per link (then send() is false); frames and bytes arrived and not yet handled by the loop
// (then nothing more is read, and TCP slows the senders down); bytes of a part; time for connecting and for the
// handshake. Heartbeats end connections whose other side is gone without a word. What is not 1 or 2 parts is dropped
// and counted; what does not speak ZeroMQ's protocol never gets this far.
//
// ZeroMQ looks host names up in the thread that serves all connections: a name server that is slow to answer holds
// them all up. Numeric addresses have no such wait.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>

#include "common/base/error.h"
#include "common/base/time.h"
#include "common/seams/network.h"
#include "common/seams/task_loop.h"

namespace millrace {

class ZeroMqIo;
struct ZeroMqEvent;
struct ZeroMqLinkQueue;

struct ZeroMqOptions {
  std::string listen = "127.0.0.1:0";  // HOST:PORT; port 0: any free one
  std::string advertise;               // host by which others reach this one; empty: the host of `listen`

  size_t max_part_bytes = 256u << 20;
  size_t max_queued_frames = 10'000;     // per link
  size_t max_queued_bytes = 256u << 20;  // per link; one frame may always go
  size_t max_arrived_frames = 10'000;
  size_t max_arrived_bytes = 256u << 20;

  Duration connect_timeout = std::chrono::seconds(5);
  Duration handshake_timeout = std::chrono::seconds(3);
  Duration heartbeat_interval = std::chrono::seconds(1);
  Duration heartbeat_timeout = std::chrono::seconds(10);  // a backstop: leases are quicker
  Duration linger = std::chrono::milliseconds(500);       // for what is queued when the network ends
};

// Made, used and destroyed on its loop (made before the loop starts is fine too).
class ZeroMqNetwork final : public Network {
 public:
  // Binds. kExists: the port is in use; kInvalid: the address is malformed, not of this host, or a wildcard without
  // `advertise`; kUnavailable: no descriptors.
  static Result<std::unique_ptr<ZeroMqNetwork>> open(ZeroMqOptions options, TaskLoop& loop);
  ~ZeroMqNetwork() override;  // waits up to `linger`

  [[nodiscard]] Endpoint local_endpoint() const override { return local_; }
  void set_handler(NetworkHandler* handler) override { handler_ = handler; }
  LinkId connect(const Endpoint& to) override;
  bool send(LinkId link, Frame frame) override;
  void disconnect(LinkId link) override;

  [[nodiscard]] uint64_t malformed_messages() const;  // of a wrong number of parts

 private:
  ZeroMqNetwork(const ZeroMqOptions& options, TaskLoop& loop, std::unique_ptr<ZeroMqIo> io);
  void drain();
  void handle(ZeroMqEvent& event);

  // Constant after construction.
  const ZeroMqOptions options_;
  TaskLoop& loop_;  // outlives this
  Endpoint local_;

  // Owned by the loop.
  NetworkHandler* handler_ = nullptr;
  std::map<LinkId, std::shared_ptr<ZeroMqLinkQueue>> links_;
  LinkId next_link_{1};
  std::deque<ZeroMqEvent> arrived_;

  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // weakly held by posted tasks
  std::unique_ptr<ZeroMqIo> io_;                                // last: its thread ends first
};

}  // namespace millrace
