// ZeroMqIo: the thread that owns the sockets of a ZeroMqNetwork. Commands come in by push(), events go out by
// take_events(); both are thread-safe, everything else is the thread's own. Only zeromq_*.cc include this.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>
#include <zmq.hpp>

#include "adapters/zeromq_network.h"

namespace millrace {

// What is queued on a link and not yet sent; counted up by the loop, down by ZeroMQ's threads.
struct ZeroMqLinkQueue {
  std::atomic<size_t> frames = 0;
  std::atomic<size_t> bytes = 0;
};

struct ZeroMqCommand {
  enum class Kind { kConnect, kSend, kDisconnect };
  Kind kind;
  LinkId link;
  std::string address;  // kConnect
  Frame frame;          // kSend
  std::shared_ptr<ZeroMqLinkQueue> queue;
};

struct ZeroMqEvent {
  enum class Kind { kUp, kDown, kFrame };
  Kind kind;
  LinkId link;
  std::string text;  // why a link went down; where a frame is from
  Frame frame;
};

class ZeroMqIo {
 public:
  static Result<std::unique_ptr<ZeroMqIo>> open(const ZeroMqOptions& options);
  ~ZeroMqIo();
  ZeroMqIo(const ZeroMqIo&) = delete;
  ZeroMqIo& operator=(const ZeroMqIo&) = delete;

  [[nodiscard]] int port() const { return port_; }
  // `on_events` is called on the thread whenever take_events() has something again.
  void start(std::function<void()> on_events);

  void push(ZeroMqCommand command);
  [[nodiscard]] std::vector<ZeroMqEvent> take_events();
  // Frames that the loop has handled.
  void release(size_t frames, size_t bytes);
  [[nodiscard]] uint64_t malformed() const { return malformed_; }

 private:
  using TimePoint = std::chrono::steady_clock::time_point;
  struct Link {
    std::string address;
    zmq::socket_t dealer;
    zmq::socket_t monitor;
    std::shared_ptr<ZeroMqLinkQueue> queue;
    bool up = false;
    TimePoint deadline;  // for the handshake to be done
  };

  explicit ZeroMqIo(const ZeroMqOptions& options);
  Status bind();
  void set_common_options(zmq::socket_t& socket) const;

  void run();
  void poll_once();
  void run_commands();
  void connect(ZeroMqCommand& command);
  void send(ZeroMqCommand& command);
  void read_monitor(LinkId id);
  void read_router();
  bool read_message();  // false: there is none
  void check_deadlines();
  void end_link(LinkId id, const std::string& reason);
  void close(Link& link);
  void emit(ZeroMqEvent event);
  void wake();
  [[nodiscard]] bool full() const;

  const ZeroMqOptions options_;
  int port_ = 0;
  int wake_fd_ = -1;
  std::function<void()> on_events_;
  std::atomic<bool> stopping_ = false;
  std::atomic<uint64_t> malformed_ = 0;
  std::atomic<size_t> arrived_frames_ = 0;  // emitted and not yet released
  std::atomic<size_t> arrived_bytes_ = 0;
  std::atomic<bool> paused_ = false;  // the router is not read until release()

  std::mutex mutex_;
  std::vector<ZeroMqCommand> commands_;  // guarded by mutex_
  std::vector<ZeroMqEvent> events_;      // guarded by mutex_

  // The thread's own (before start(): the opener's).
  zmq::context_t context_;
  zmq::socket_t router_;
  std::map<LinkId, Link> links_;
  std::thread thread_;
};

}  // namespace millrace
