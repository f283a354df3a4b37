// ProduceConnection: sends record batches as they are to one partition, by Produce requests (v9, acks all) that do not
// wait for the answers to those before. For benchmarks: its calls wait, and the first error is the last. Belongs to one
// thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "adapters/file_descriptor.h"
#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/model/address.h"

namespace millrace {

class ProduceConnection {
 public:
  // `broker`: who leads the partition. kUnavailable: nobody listens there.
  static Result<ProduceConnection> open(const HostPort& broker, std::string topic, LogPartition partition);

  // Returns when the system has the bytes, which may take until the broker has read others.
  Status send(std::string_view batch);

  // Waits for the next answer, which is that to the oldest request without one. An error: the batch was not appended.
  Status hear();

  [[nodiscard]] int descriptor() const { return socket_.get(); }  // readable when there is something to hear
  [[nodiscard]] int32_t unanswered() const { return sent_ - heard_; }

 private:
  ProduceConnection(FileDescriptor socket, std::string topic, LogPartition partition)
      : socket_(std::move(socket)), topic_(std::move(topic)), partition_(partition) {}

  Status send_all(std::string_view bytes, int flags);

  FileDescriptor socket_;
  std::string topic_;
  LogPartition partition_;
  int32_t sent_ = 0;  // as many correlation ids, from 0 on
  int32_t heard_ = 0;
};

}  // namespace millrace
