#include "gateway/job_routes.h"

#include <charconv>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "common/api/api_json.h"
#include "common/api/change_position.h"
#include "gateway/bodies.h"
#include "gateway/submission.h"

namespace millrace {
namespace {

using nlohmann::ordered_json;

constexpr int32_t kMostWaitMs = 10'000;  // so long a gateway waits for its readers before it ends

// Answers `reply` with what `shape(answer)` makes of the master's answer.
template <typename T, typename Shape>
ApiService::Done<T> answering(HttpReply reply, Shape shape, int status = 200) {
  return [reply = std::move(reply), shape = std::move(shape), status](Result<T> answer) mutable {
    if (!answer) return reply(http_failure(answer.error()));
    reply({.status = status, .body = json_text(shape(*answer)) + "\n"});
  };
}

template <typename T>
ApiService::Done<T> answering(HttpReply reply) {
  return answering<T>(std::move(reply), [](const T& answer) { return json_of(answer); });
}

ordered_json json_of_all(const char* name, const auto& all) {
  ordered_json object = {{name, ordered_json::array()}};
  for (const auto& each : all) object[name].push_back(json_of(each));
  return object;
}

// What ?name= says, or `usual`. Whether it is a sensible number is the master's to say.
template <typename T>
Parsed<T> number_in(const HttpRequest& request, const std::string& name, T usual) {
  const auto found = request.query.find(name);
  if (found == request.query.end()) return usual;
  const std::string& text = found->second;
  T number{};
  const auto read = std::from_chars(text.data(), text.data() + text.size(), number);
  if (!text.empty() && read.ec == std::errc() && read.ptr == text.data() + text.size()) return number;
  return std::unexpected(http_problem(400, "?" + name + "= is '" + text.substr(0, 100) +
                                               "'; it must be a number of at most " +
                                               std::to_string(std::numeric_limits<T>::max())));
}

Parsed<bool> flag_in(const HttpRequest& request, const std::string& name) {
  const auto found = request.query.find(name);
  if (found == request.query.end() || found->second == "false") return false;
  if (found->second == "true") return true;
  return std::unexpected(
      http_problem(400, "?" + name + "= is '" + found->second.substr(0, 100) + "'; it must be true or false"));
}

ordered_json count_of(const api::Values& values) {
  const api::Value& value = values.values.at(0);
  ordered_json object = {{"as_of", json_of(values.as_of)}, {"batch", values.as_of.batch}};
  if (!values.table.empty()) object["table"] = values.table;
  object["word"] = value.key;
  object["count"] = value.found ? json_value(value.text) : ordered_json(nullptr);
  return object;
}

ordered_json changes_of(const api::Changes& changes) {
  ordered_json object = {
      {"position", position_text(changes.position)}, {"batch", changes.position.batch}, {"reset", changes.reset}};
  if (!changes.table.empty()) object["table"] = changes.table;
  object["batches"] = ordered_json::array();
  for (const api::BatchChanges& batch : changes.batches) object["batches"].push_back(json_of(batch));
  return object;
}

ordered_json of_job(const std::string& name, const ordered_json& answer) {
  ordered_json object = {{"job", name}};
  object.update(answer);
  return object;
}

}  // namespace

void JobRoutes::add_to(Gateway& gateway) {
  add_questions(gateway);
  add_counts(gateway);
  add_commands(gateway);
}

void JobRoutes::add_questions(Gateway& gateway) {
  gateway.add("GET", "/api/v1/jobs", Role::kRead, [this](const auto&, const auto&, const auto&, HttpReply reply) {
    master_.jobs(answering<std::vector<api::JobSummary>>(std::move(reply),
                                                         [](const auto& jobs) { return json_of_all("jobs", jobs); }));
  });
  gateway.add("GET", "/api/v1/workers", Role::kRead, [this](const auto&, const auto&, const auto&, HttpReply reply) {
    master_.workers(answering<std::vector<api::WorkerSummary>>(
        std::move(reply), [](const auto& workers) { return json_of_all("workers", workers); }));
  });
  gateway.add("GET", "/api/v1/jobs/NAME", Role::kRead,
              [this](const auto&, const auto& arguments, const auto&, HttpReply reply) {
                master_.describe(arguments[0], answering<api::JobDescription>(std::move(reply)));
              });
  gateway.add("GET", "/api/v1/jobs/NAME/lag", Role::kRead,
              [this](const auto&, const auto& arguments, const auto&, HttpReply reply) {
                master_.lag(arguments[0], answering<api::Lag>(std::move(reply)));
              });
  gateway.add("GET", "/api/v1/jobs/NAME/checkpoints", Role::kRead,
              [this](const auto&, const auto& arguments, const auto&, HttpReply reply) {
                master_.checkpoints(arguments[0], answering<std::vector<api::Checkpoint>>(
                                                      std::move(reply), [](const auto& checkpoints) {
                                                        return json_of_all("checkpoints", checkpoints);
                                                      }));
              });
  gateway.add("GET", "/api/v1/jobs/NAME/batches", Role::kRead,
              [this](const HttpRequest& request, const auto& arguments, const auto&, HttpReply reply) {
                auto n = number_in<int32_t>(request, "n", 100);
                if (!n) return reply(std::move(n.error()));
                auto before = number_in<int64_t>(request, "before", 0);
                if (!before) return reply(std::move(before.error()));
                master_.batches(arguments[0], *n, *before, answering<api::BatchProfiles>(std::move(reply)));
              });
  gateway.add("GET", "/api/v1/jobs/NAME/dead-letters", Role::kRead,
              [this](const HttpRequest& request, const auto& arguments, const auto&, HttpReply reply) {
                auto limit = number_in<int32_t>(request, "limit", 100);
                if (!limit) return reply(std::move(limit.error()));
                auto partition = number_in<int32_t>(request, "partition", 0);
                if (!partition) return reply(std::move(partition.error()));
                auto offset = number_in<int64_t>(request, "offset", 0);
                if (!offset) return reply(std::move(offset.error()));
                master_.dead_letters(arguments[0], *limit, *partition, *offset, request.parameter("topic"),
                                     answering<api::DeadLetters>(std::move(reply)));
              });
}

void JobRoutes::add_counts(Gateway& gateway) {
  gateway.add("GET", "/api/v1/jobs/NAME/counts/WORD", Role::kRead,
              [this](const HttpRequest& request, const auto& arguments, const auto&, HttpReply reply) {
                auto at_least = number_in<int64_t>(request, "at_least", 0);
                if (!at_least) return reply(std::move(at_least.error()));
                master_.get(arguments[0], {arguments[1]}, *at_least, request.parameter("table"),
                            answering<api::Values>(std::move(reply), count_of));
              });
  gateway.add("GET", "/api/v1/jobs/NAME/top", Role::kRead,
              [this](const HttpRequest& request, const auto& arguments, const auto&, HttpReply reply) {
                auto n = number_in<int32_t>(request, "n", 10);
                if (!n) return reply(std::move(n.error()));
                auto at_least = number_in<int64_t>(request, "at_least", 0);
                if (!at_least) return reply(std::move(at_least.error()));
                master_.top(arguments[0], *n, *at_least, request.parameter("table"),
                            answering<api::Values>(std::move(reply),
                                                   [](const auto& values) { return json_of(values, false); }));
              });
  gateway.add("GET", "/api/v1/jobs/NAME/search", Role::kRead,
              [this](const HttpRequest& request, const auto& arguments, const auto&, HttpReply reply) {
                auto limit = number_in<int32_t>(request, "limit", 100);
                if (!limit) return reply(std::move(limit.error()));
                api::SearchRequest asked;
                asked.name = arguments[0];
                asked.table = request.parameter("table");
                asked.prefix = request.parameter("prefix");
                asked.limit = *limit;
                asked.after = request.parameter("after");
                master_.search(asked, answering<api::Page>(std::move(reply), [name = arguments[0]](const auto& page) {
                                 return of_job(name, json_of(page));
                               }));
              });
  gateway.add("GET", "/api/v1/jobs/NAME/totals", Role::kRead,
              [this](const HttpRequest& request, const auto& arguments, const auto&, HttpReply reply) {
                master_.totals(arguments[0], request.parameter("table"),
                               answering<api::Totals>(std::move(reply), [name = arguments[0]](const auto& totals) {
                                 return of_job(name, json_of(totals));
                               }));
              });
  gateway.add("GET", "/api/v1/jobs/NAME/changes", Role::kRead,
              [this](const HttpRequest& request, const auto& arguments, const auto&, HttpReply reply) {
                api::ChangesRequest asked;
                asked.name = arguments[0];
                asked.table = request.parameter("table");
                auto wait_ms = number_in<int32_t>(request, "wait_ms", kMostWaitMs);
                if (!wait_ms) return reply(std::move(wait_ms.error()));
                if (*wait_ms > kMostWaitMs) {
                  return reply(http_problem(400, "?wait_ms= is at most " + std::to_string(kMostWaitMs)));
                }
                asked.wait_ms = *wait_ms;
                if (const std::string after = request.parameter("after"); !after.empty()) {
                  Result<api::AsOf> position = parse_position(after);
                  if (!position) return reply(http_failure(position.error()));
                  asked.after = *std::move(position);
                }
                Seats::Seat seat = asked.wait_ms > 0 ? waiting_.take() : nullptr;
                if (asked.wait_ms > 0 && seat == nullptr) {
                  return reply(later(503, std::to_string(waiting_.most()) +
                                              " requests wait for changes already; follow /stream, or ask with "
                                              "wait_ms=0, or try again later"));
                }
                master_.changes(asked,
                                [seat = std::move(seat),
                                 done = answering<api::Changes>(std::move(reply), changes_of)](auto answer) mutable {
                                  seat.reset();
                                  done(std::move(answer));
                                });
              });
}

void JobRoutes::add_commands(Gateway& gateway) {
  gateway.add("POST", "/api/v1/jobs", Role::kOperate,
              [this](const HttpRequest& request, const auto&, const auto&, HttpReply reply) {
                auto job = parse_job(request.body);
                if (!job) return reply(std::move(job.error()));
                master_.submit(*std::move(job),
                               answering<api::JobSummary>(
                                   std::move(reply), [](const auto& submitted) { return json_of(submitted); }, 201));
              });
  gateway.add("POST", "/api/v1/jobs/NAME/stop", Role::kOperate,
              [this](const auto&, const auto& arguments, const auto&, HttpReply reply) {
                master_.stop(arguments[0], answering<api::JobSummary>(std::move(reply)));
              });
  gateway.add("POST", "/api/v1/jobs/NAME/resume", Role::kOperate,
              [this](const HttpRequest& request, const auto& arguments, const auto&, HttpReply reply) {
                auto from = number_in<int64_t>(request, "from", 0);
                if (!from) return reply(std::move(from.error()));
                auto done = answering<api::JobSummary>(std::move(reply));
                if (*from == 0) return master_.resume(arguments[0], std::move(done));
                master_.resume_from(arguments[0], *from, std::move(done));
              });
  gateway.add("DELETE", "/api/v1/jobs/NAME", Role::kOperate,
              [this](const HttpRequest& request, const auto& arguments, const auto&, HttpReply reply) {
                auto purge = flag_in(request, "purge");
                if (!purge) return reply(std::move(purge.error()));
                master_.kill(arguments[0], *purge, answering<bool>(std::move(reply), [name = arguments[0]](bool) {
                               return ordered_json{{"name", name}, {"state", "killed"}};
                             }));
              });
}

}  // namespace millrace
