#include "client/simulated_check.h"

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <utility>

namespace millrace::client {
namespace {

using std::chrono::steady_clock;

constexpr Duration kAskLimit = std::chrono::seconds(20);
constexpr Duration kAskPause = std::chrono::milliseconds(100);
constexpr Duration kLongestOutage = std::chrono::seconds(60);  // of a job that recovers, or of a master
constexpr size_t kAtOnce = 16;

std::string encoded(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-') {
      out += c;
    } else {
      char code[4];
      std::snprintf(code, sizeof(code), "%%%02X", static_cast<unsigned>(static_cast<unsigned char>(c)));
      out += code;
    }
  }
  return out;
}

int64_t count_in(const SimulationCheck::Counts& counts, const std::string& key) {
  const auto found = counts.find(key);
  return found == counts.end() ? 0 : found->second;
}

// The status says whether it may be asked again.
Result<nlohmann::json> told(const Result<HttpResponse>& answer) {
  if (!answer) return std::unexpected(answer.error());
  nlohmann::json body = nlohmann::json::parse(answer->body, nullptr, false);
  if (!body.is_object()) return fail(ErrorCode::kInvalid, "this is no gateway of Millrace");
  if (answer->status == 200) return body;
  const ErrorCode code = answer->status < 500 && answer->status != 429 ? ErrorCode::kInvalid : ErrorCode::kUnavailable;
  return fail(code, "a gateway answers " + std::to_string(answer->status) + ": " + body.value("detail", ""));
}

}  // namespace

SimulationCheck::SimulationCheck(const SimulationOptions& options, std::string job, HttpCaller& caller)
    : options_(options), job_(std::move(job)), caller_(caller) {}

void SimulationCheck::pause() {
  caller_.schedule(kAskPause, [] {});
  caller_.run();
}

Result<nlohmann::json> SimulationCheck::ask(const std::string& target, Duration wait) {
  const auto until = steady_clock::now() + wait;
  while (true) {
    Result<HttpResponse> answer;
    caller_.call({.server = options_.gateways[gateway_ % options_.gateways.size()],
                  .target = target,
                  .body = "",
                  .headers = options_.headers,
                  .limit = kAskLimit},
                 [&answer](Result<HttpResponse> heard) { answer = std::move(heard); });
    caller_.run();
    Result<nlohmann::json> body = told(answer);
    if (body || body.error().code == ErrorCode::kInvalid || steady_clock::now() > until) return body;
    ++gateway_;
    pause();
  }
}

// Until the job has counted all that its log holds now. The batch with which it had.
Result<int64_t> SimulationCheck::wait_for_log() {
  const std::string target = "/api/v1/jobs/" + job_ + "/lag";
  std::map<std::pair<std::string, int64_t>, int64_t> ends;
  const auto until = steady_clock::now() + kLongestOutage;
  while (true) {
    const auto lag = ask(target, kLongestOutage);
    if (!lag) return std::unexpected(lag.error());
    const std::string problem = lag->value("problem", "");
    bool reached = problem.empty();
    if (problem.empty()) {
      const bool first = ends.empty();
      for (const auto& partition : lag->at("partitions")) {
        const auto key = std::pair(partition.at("topic").get<std::string>(), partition.at("partition").get<int64_t>());
        if (first) ends[key] = partition.at("end_offset").get<int64_t>();
        if (partition.at("applied_offset").get<int64_t>() < ends[key]) reached = false;
      }
    }
    if (reached) return lag->at("batch").get<int64_t>();
    if (steady_clock::now() > until) {
      return fail(ErrorCode::kTimeout,
                  "the job '" + job_ + "' has not counted all of its log" + (problem.empty() ? "" : ": " + problem));
    }
    pause();
  }
}

Result<SimulationCheck::Counts> SimulationCheck::counts() {
  const Result<int64_t> batch = wait_for_log();
  if (!batch) return std::unexpected(batch.error());
  Counts counts;
  std::vector<std::string> missing = keys_;
  Error error;
  const auto until = steady_clock::now() + kLongestOutage;
  while (!missing.empty() && steady_clock::now() < until) {
    if (!error.message.empty()) {
      ++gateway_;
      pause();
    }
    const size_t now = std::min(missing.size(), kAtOnce);
    std::vector<std::string> again;
    for (size_t line = 0; line < now; ++line) {
      const std::string& key = missing[line];
      caller_.call(
          {.server = options_.gateways[gateway_ % options_.gateways.size()],
           .line = line,
           .target = "/api/v1/jobs/" + job_ + "/counts/" + encoded(key) + "?at_least=" + std::to_string(*batch),
           .body = "",
           .headers = options_.headers,
           .limit = kAskLimit},
          [&, key](const Result<HttpResponse>& answer) {
            const auto body = told(answer);
            if (!body) {
              error = body.error();
              return again.push_back(key);
            }
            counts[key] = body->at("count").is_null() ? 0 : body->at("count").get<int64_t>();
          });
    }
    error = {};
    caller_.run();
    if (!error.message.empty() && error.code == ErrorCode::kInvalid) return std::unexpected(error);
    missing.erase(missing.begin(), missing.begin() + static_cast<ptrdiff_t>(now));
    missing.insert(missing.end(), again.begin(), again.end());
  }
  if (!missing.empty()) return fail(ErrorCode::kUnavailable, "not all counts are told: " + error.message);
  return counts;
}

Status SimulationCheck::begin(Duration wait) {
  const auto job = ask("/api/v1/jobs/" + job_, wait);
  if (!job) return std::unexpected(job.error());
  const std::string type = job->value("type", "");
  of_users_ = type == "user_counts";
  if (!of_users_ && type != "word_count") {
    return fail(ErrorCode::kInvalid, "the job '" + job_ + "' is a " + type +
                                         ", and what can be checked is a word_count or "
                                         "a user_counts; name one by --job, or give --no-check");
  }
  keys_ = SimulatedText::vocabulary(options_.salt);
  if (of_users_) {
    keys_.clear();
    for (size_t user = 0; user < options_.users; ++user) keys_.push_back(simulated_user(user, options_.salt));
  }
  Result<Counts> now = counts();
  if (!now) return std::unexpected(now.error());
  before_ = std::move(*now);
  return {};
}

Result<std::vector<SimulationCheck::Difference>> SimulationCheck::end(const SimulatedUsers& users) {
  const Result<Counts> now = counts();
  if (!now) return std::unexpected(now.error());
  std::vector<Difference> differences;
  for (const std::string& key : keys_) {
    const int64_t least = count_in(of_users_ ? users.texts() : users.words(), key);
    const int64_t most = least + count_in(of_users_ ? users.unknown_texts() : users.unknown_words(), key);
    const int64_t counted = count_in(*now, key) - count_in(before_, key);
    if (counted < least || counted > most) differences.push_back({key, least, most, counted});
  }
  return differences;
}

}  // namespace millrace::client
