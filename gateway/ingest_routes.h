// IngestRoutes: how records come in.
//
//   POST /submit_text                 {"text": "...", "user_id": "..."}
//   POST /api/v1/logs/LOG/records     see parse_records() in bodies.h
//
// Answered when the records are durable, with where they are. A body may be gzipped. A request with an Idempotency-Key
// may be sent again, to any gateway of the log, and is stored once; keys of different API keys are different.
#pragma once

#include <expected>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "common/seams/clock.h"
#include "common/seams/record_writer.h"
#include "gateway/bodies.h"
#include "gateway/gateway.h"
#include "gateway/rate_limits.h"

namespace millrace {

struct IngestOptions {
  std::string text_log;              // where /submit_text writes to
  size_t max_body_bytes = 1u << 20;  // unpacked
  RateLimitOptions rates;
};

class IngestRoutes {
 public:
  // What the gzip streams of the first hold, but not more than the second and a byte. kInvalid: they are none.
  using Gunzip = std::function<Result<std::string>(std::string_view packed, size_t most_bytes)>;
  using Logs = std::map<std::string, RecordWriter*>;  // by name; they outlive this

  IngestRoutes(IngestOptions options, Logs logs, Gunzip gunzip, const Clock& clock, GatewayMetrics& metrics);

  // `gateway` calls this as long as it is called itself.
  void add_to(Gateway& gateway);

 private:
  using Writer = std::pair<const std::string, RecordWriter*>;  // of Logs

  void submit_text(HttpRequest request, const Caller& caller, HttpReply reply);
  void append(HttpRequest request, const std::string& log, const Caller& caller, HttpReply reply);
  void write(const Writer& log, const HttpRequest& request, std::vector<KeyedRecord> records, const Caller& caller,
             std::string_view user, HttpReply reply);
  Parsed<void> unpack(HttpRequest& request) const;
  Parsed<void> limit(std::string_view user);
  void refuse_body(HttpResponse problem, HttpReply reply);

  const IngestOptions options_;
  const Logs logs_;
  const Gunzip gunzip_;
  const Clock& clock_;
  GatewayMetrics& metrics_;
  RateLimits rates_;
};

}  // namespace millrace
