// SocketReceiver: lines from a TCP server. Connects to it, and again, after pauses that grow, whenever it is away or
// ends the connection, until this is destroyed. Where the log is full it does not read, and TCP slows the server down.
//
// The last line before the server ends the connection counts without its end, too. One that a broken connection cuts
// off does not, and that is said.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "adapters/file_descriptor.h"
#include "adapters/stop_signal.h"
#include "common/base/error.h"
#include "common/model/address.h"
#include "common/seams/receiver.h"

namespace millrace {

// Made, started and destroyed by one thread; has one of its own.
class SocketReceiver final : public Receiver {
 public:
  SocketReceiver(const HostPort& server, size_t max_record_bytes);
  ~SocketReceiver() override;
  SocketReceiver(const SocketReceiver&) = delete;
  SocketReceiver& operator=(const SocketReceiver&) = delete;

  void start(ReceiverTarget& target) override;

 private:
  // How a connection came to its end.
  struct Ended {
    bool for_good = false;  // nobody wants more
    int64_t bytes = 0;      // that came by it
    std::string problem;    // empty: the server has ended it after its lines
  };

  void run();
  [[nodiscard]] Result<FileDescriptor> connect() const;
  [[nodiscard]] Ended receive(int connection);
  [[nodiscard]] bool append(std::span<const std::string_view> lines);

  // Constant after construction.
  const HostPort server_;
  const std::string name_;  // of the server, HOST:PORT
  const size_t max_record_bytes_;
  StopSignal stop_;
  ReceiverTarget* target_ = nullptr;  // from start() on; outlives this

  // The thread's.
  std::vector<char> buffer_;
  int64_t lines_ = 0;

  std::thread thread_;
};

}  // namespace millrace
