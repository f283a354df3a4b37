// FrameServer: a TCP server for messages framed by a length of four bytes (big-endian), one answer per message.
// It is the transport below the Thrift services, since Thrift's own servers either spend a thread on every open
// connection or (the non-blocking one) know neither idle time-outs nor a bound of memory over all connections.
//
// One I/O thread owns all connections; messages are handled in pools of threads, one message of a connection at a
// time. What is bounded: connections (the longest idle one makes way for a new one, those that never completed a
// message first), the size of a message, the time it may take to arrive, idle time, and the memory of the large
// messages together: beyond it connections wait, unread, in the order of arrival; and the memory of answers that their
// clients have not yet taken: beyond it no message is handled.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/error.h"
#include "common/base/time.h"

namespace millrace {

struct FrameServerOptions {
  std::string address;         // HOST:PORT; port 0: any free one
  std::string flag = "--api";  // named in errors
  size_t max_frame_bytes = 16u << 20;
  size_t max_connections = 4096;        // at most half of the process' descriptors are used
  size_t max_large_bytes = 256u << 20;  // of all messages above 64 KiB together, and of all answers
  Duration idle_timeout = std::chrono::minutes(10);
  Duration frame_timeout = std::chrono::seconds(30);  // for one message to arrive, and one answer to leave
  std::vector<size_t> pool_threads = {8};             // threads of each pool
};

class FrameServer {
 public:
  // Which pool handles this message. On the I/O thread: must be quick and must not throw.
  using ChoosePool = std::function<size_t(std::string_view message)>;
  // The answer; none closes the connection. On a thread of a pool.
  using Handle = std::function<std::optional<std::string>(std::string_view message)>;

  // kInvalid: the address is not HOST:PORT or cannot be resolved. kUnavailable: it cannot be listened on.
  static Result<std::unique_ptr<FrameServer>> start(FrameServerOptions options, ChoosePool choose_pool, Handle handle);

  // Closes all connections and waits for the calls of `handle` that are under way.
  ~FrameServer();
  FrameServer(const FrameServer&) = delete;
  FrameServer& operator=(const FrameServer&) = delete;

  [[nodiscard]] uint16_t port() const;
  [[nodiscard]] size_t connections() const;  // open now; any thread

 private:
  class Server;
  explicit FrameServer(std::unique_ptr<Server> server);
  std::unique_ptr<Server> server_;
};

}  // namespace millrace
