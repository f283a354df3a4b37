// ApiServer: the public services of thrift/millrace.thrift (Control, Query, Ingest; framed transport, binary
// protocol, multiplexed by service name) on one port.
//
// Requests are checked, posted to the master's loop, and waited for on a thread of a pool; each service has a pool
// of its own, so that waiting queries never hold up a `stop`. Every failure goes to the client as api::Failure.
// What a client may send is limited; see adapters/frame_server.h for connections and memory.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "common/base/error.h"
#include "common/base/time.h"
#include "common/seams/api_service.h"
#include "common/seams/ingest_store.h"
#include "common/seams/task_loop.h"

namespace millrace {

class FrameServer;

struct ApiServerOptions {
  std::string address;  // HOST:PORT; port 0: any free one
  size_t max_connections = 4096;
  size_t max_message_bytes = 16u << 20;
  Duration idle_timeout = std::chrono::minutes(10);
  Duration frame_timeout = std::chrono::seconds(30);
  Duration answer_timeout = std::chrono::seconds(15);  // of the master, for what only reads
  Duration change_timeout = std::chrono::seconds(60);  // for submit, stop, resume and kill
};

// Called by the process' main, which keeps the loop and the services alive until this is destroyed.
class ApiServer {
 public:
  // `ingest` may be null: then Ingest answers that there is no embedded log. kInvalid: the address is malformed.
  // kUnavailable: the port cannot be listened on.
  static Result<std::unique_ptr<ApiServer>> start(const ApiServerOptions& options, TaskLoop& loop, ApiService& service,
                                                  IngestStore* ingest);

  // Answers calls under way with kUnavailable and closes all connections. Tasks that were posted and not yet run
  // must still find the service, or be dropped by the loop.
  ~ApiServer();
  ApiServer(const ApiServer&) = delete;
  ApiServer& operator=(const ApiServer&) = delete;

  [[nodiscard]] uint16_t port() const;
  [[nodiscard]] size_t connections() const;

 private:
  class Services;
  ApiServer(std::shared_ptr<Services> services, std::unique_ptr<FrameServer> server);

  std::shared_ptr<Services> services_;
  std::unique_ptr<FrameServer> server_;
};

}  // namespace millrace
