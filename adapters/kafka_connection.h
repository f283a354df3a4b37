// KafkaConnection: one connection to a broker whose calls never wait. It has no policy: its owner waits for the socket,
// keeps time, and decides what an error leads to. FrameReceiver: one answer, received whole. Belong to one thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "adapters/file_descriptor.h"
#include "adapters/host_lookup.h"
#include "common/base/error.h"

namespace millrace {

class KafkaConnection {
 public:
  struct Settings {
    int receive_buffer_bytes = 0;  // 0: the system chooses, and goes on choosing
    bool keepalive = true;
  };

  // kUnavailable, with the address, of this and of all others: the connection is of no use any more.
  static Result<KafkaConnection> begin(const SocketAddress& address, const Settings& settings);

  [[nodiscard]] int descriptor() const { return socket_.get(); }

  // Once the socket is writable for the first time, or has failed.
  Status finish_connecting();

  // A request, whole: one that the system's buffer has no room for is an error, since nobody asks twice at a time.
  Status send(std::string_view frame);

  // How much was there, at most as much as there is room. 0: nothing now.
  Result<size_t> receive(std::span<char> room);

 private:
  KafkaConnection(FileDescriptor socket, std::string peer) : socket_(std::move(socket)), peer_(std::move(peer)) {}
  [[nodiscard]] std::unexpected<Error> failed(int error) const;

  FileDescriptor socket_;
  std::string peer_;
};

class FrameReceiver {
 public:
  enum class State { kMore, kWhole, kBroken };

  explicit FrameReceiver(size_t most_bytes) : most_bytes_(most_bytes), bytes_(sizeof(int32_t), 0) {}

  [[nodiscard]] std::span<char> room() { return std::span(bytes_).subspan(received_); }
  State arrived(size_t bytes);
  [[nodiscard]] std::string_view frame() const {
    return std::string_view(bytes_).substr(sizeof(int32_t));
  }  // once whole

 private:
  const size_t most_bytes_;
  std::string bytes_;  // the frame's size, and then the frame
  size_t received_ = 0;
};

}  // namespace millrace
