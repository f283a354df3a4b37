#include "gateway/ingest_routes.h"

#include <algorithm>
#include <utility>

namespace millrace {
namespace {

constexpr size_t kMostIdempotencyKeyBytes = 255;

// One record's place, or those of several.
std::string described(const std::string& log, const std::vector<WrittenRange>& ranges, bool one) {
  std::string text = R"({"log":")" + log + "\"";
  const auto place = [](const WrittenRange& range) {
    return R"("partition":)" + std::to_string(range.partition.value()) + R"(,"offset":)" +
           std::to_string(range.first.value());
  };
  if (one && !ranges.empty()) return text + "," + place(ranges.front()) + "}\n";
  text += R"(,"ranges":[)";
  for (const WrittenRange& range : ranges) {
    if (text.back() == '}') text += ",";
    text += "{" + place(range) + R"(,"count":)" + std::to_string(range.count) + "}";
  }
  return text + "]}\n";
}

Parsed<std::string> idempotency_key(const HttpRequest& request, const Caller& caller) {
  const std::string_view key = request.header("Idempotency-Key");
  if (key.empty()) return "";
  const bool printable = std::ranges::all_of(key, [](char c) { return c >= ' ' && c <= '~'; });
  if (key.size() > kMostIdempotencyKeyBytes || !printable) {
    return std::unexpected(http_problem(400, "the Idempotency-Key has " + std::to_string(key.size()) +
                                                 " bytes; it must be at most " +
                                                 std::to_string(kMostIdempotencyKeyBytes) + ", and printable ASCII"));
  }
  return caller.key_name + "\n" + std::string(key);
}

}  // namespace

IngestRoutes::IngestRoutes(IngestOptions options, Logs logs, Gunzip gunzip, const Clock& clock, GatewayMetrics& metrics)
    : options_(std::move(options)),
      logs_(std::move(logs)),
      gunzip_(std::move(gunzip)),
      clock_(clock),
      metrics_(metrics),
      rates_(options_.rates) {}

void IngestRoutes::add_to(Gateway& gateway) {
  gateway.add("POST", "/submit_text", Role::kSubmit,
              [this](HttpRequest request, const auto&, const Caller& caller, HttpReply reply) {
                submit_text(std::move(request), caller, std::move(reply));
              });
  gateway.add("POST", "/api/v1/logs/LOG/records", Role::kSubmit,
              [this](HttpRequest request, const auto& arguments, const Caller& caller, HttpReply reply) {
                append(std::move(request), arguments.at(0), caller, std::move(reply));
              });
}

void IngestRoutes::refuse_body(HttpResponse problem, HttpReply reply) {
  metrics_.refused(GatewayMetrics::Refusal::kBody);
  reply(std::move(problem));
}

Parsed<void> IngestRoutes::unpack(HttpRequest& request) const {
  const std::string_view encoding = request.header("Content-Encoding");
  if (same_http_name(encoding, "gzip")) {
    auto body = gunzip_(request.body, options_.max_body_bytes);
    if (!body) return std::unexpected(http_problem(400, "the body: " + body.error().message));
    if (body->size() > options_.max_body_bytes) {
      return std::unexpected(http_problem(413, "the body, unpacked, is larger than " +
                                                   std::to_string(options_.max_body_bytes) +
                                                   " bytes; send it in parts"));
    }
    request.body = std::move(*body);
  } else if (!encoding.empty() && !same_http_name(encoding, "identity")) {
    return std::unexpected(http_problem(
        415, "the Content-Encoding is '" + std::string(encoding.substr(0, 60)) + "'; there is gzip, and none"));
  }
  if (request.body.empty()) return std::unexpected(http_problem(400, "the body is empty"));
  return {};
}

Parsed<void> IngestRoutes::limit(std::string_view user) {
  const RateLimits::Answer answer = rates_.take(user, clock_.now());
  switch (answer.limit) {
    case RateLimits::Limit::kNone: return {};
    case RateLimits::Limit::kUser:
      metrics_.refused(GatewayMetrics::Refusal::kUserRate);
      return std::unexpected(
          later(429, "'" + std::string(user) + "' sends more requests than a user may", answer.wait));
    case RateLimits::Limit::kTotal: break;
  }
  metrics_.refused(GatewayMetrics::Refusal::kTotalRate);
  return std::unexpected(later(429, "all users together send more requests than this gateway takes", answer.wait));
}

void IngestRoutes::submit_text(HttpRequest request, const Caller& caller, HttpReply reply) {
  const std::string_view type = request.header("Content-Type");
  if (!same_http_name(type.substr(0, type.find(';')), "application/json")) {
    return refuse_body(http_problem(415, "expected Content-Type: application/json"), std::move(reply));
  }
  if (auto unpacked = unpack(request); !unpacked) return refuse_body(std::move(unpacked.error()), std::move(reply));
  auto record = parse_submission(request.body);
  if (!record) return refuse_body(std::move(record.error()), std::move(reply));
  const std::string user = record->key.value_or("");
  std::vector<KeyedRecord> records;
  records.push_back(std::move(*record));
  write(*logs_.find(options_.text_log), request, std::move(records), caller, user, std::move(reply));
}

void IngestRoutes::append(HttpRequest request, const std::string& log, const Caller& caller, HttpReply reply) {
  const auto found = logs_.find(log);
  if (found == logs_.end()) {
    std::string known;
    for (const auto& [name, writer] : logs_) known += (known.empty() ? "" : ", ") + name;
    return refuse_body(http_problem(404, "there is no log '" + log.substr(0, 100) + "' here, but " + known),
                       std::move(reply));
  }
  if (auto unpacked = unpack(request); !unpacked) return refuse_body(std::move(unpacked.error()), std::move(reply));
  auto records = parse_records(request.header("Content-Type"), request.body);
  if (!records) return refuse_body(std::move(records.error()), std::move(reply));
  write(*found, request, std::move(*records), caller, "", std::move(reply));
}

// `user`: who is named in the body, if anybody is.
void IngestRoutes::write(const Writer& log, const HttpRequest& request, std::vector<KeyedRecord> records,
                         const Caller& caller, std::string_view user, HttpReply reply) {
  auto key = idempotency_key(request, caller);
  if (!key) return refuse_body(std::move(key.error()), std::move(reply));
  if (user.empty()) user = caller.key_name.empty() ? caller.peer : caller.key_name;
  if (auto allowed = limit(user); !allowed) return reply(std::move(allowed.error()));
  const size_t count = records.size();
  const bool one = request.path.size() == 1;  // /submit_text
  log.second->write({.records = std::move(records), .idempotency_key = std::move(*key)},
                    [this, &name = log.first, count, one, reply = std::move(reply)](auto ranges) mutable {
                      if (!ranges) {
                        metrics_.refused(GatewayMetrics::Refusal::kLog);
                        return reply(http_failure(ranges.error()));
                      }
                      metrics_.stored(count);
                      reply({.body = described(name, *ranges, one)});
                    });
}

}  // namespace millrace
