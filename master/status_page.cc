#include "master/status_page.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <vector>

#include "common/api/api_json.h"
#include "master/cluster_metrics.h"

namespace millrace {
namespace {

struct Snapshot {
  int64_t epoch = 0;
  std::vector<api::JobSummary> jobs;
  std::vector<std::string> workers;
  size_t executors = 0;
};

Snapshot take_snapshot(EventLoop& loop, Master& master) {
  Snapshot snapshot;
  loop.run_and_wait([&] {
    snapshot.epoch = master.epoch().value();
    for (const JobController* job : master.all_jobs()) snapshot.jobs.push_back(job->summary());
    for (const auto& [process, worker] : master.workers()) snapshot.workers.push_back(worker.name);
    snapshot.executors = master.executors().size();
  });
  return snapshot;
}

// Of a query; `usual` where it is not there.
Result<int64_t> number_in(const std::map<std::string, std::string>& query, const std::string& name, int64_t usual) {
  const auto found = query.find(name);
  if (found == query.end()) return usual;
  const std::string& text = found->second;
  int64_t value = 0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), value);
  if (read.ec == std::errc() && read.ptr == text.data() + text.size()) return value;
  return fail(ErrorCode::kInvalid, name + " is '" + text + "'; it must be a number");
}

int http_code_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalid: return 400;
    case ErrorCode::kNotFound: return 404;
    default: return 503;
  }
}

std::string text_of_json(const nlohmann::json& object, int indent) {
  return object.dump(indent, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace

std::pair<int, std::string> StatusPage::batches(const std::string& job,
                                                const std::map<std::string, std::string>& query) {
  const Result<int64_t> n = number_in(query, "n", 100);
  const Result<int64_t> before = number_in(query, "before", 0);
  Result<api::BatchProfiles> found = fail(ErrorCode::kInvalid, "");
  if (!n.has_value()) {
    found = std::unexpected(n.error());
  } else if (!before.has_value()) {
    found = std::unexpected(before.error());
  } else {
    // Out of range is out of range as a narrower number, too.
    const auto most = static_cast<int32_t>(std::clamp<int64_t>(*n, 0, INT32_MAX));
    loop_.run_and_wait([&] {
      service_.batches(job, most, *before, [&](Result<api::BatchProfiles> answer) { found = std::move(answer); });
    });
  }
  if (!found.has_value()) {
    return {http_code_of(found.error().code), text_of_json({{"error", found.error().message}}, -1) + "\n"};
  }
  return {200, json_text(json_of(*found)) + "\n"};
}

std::string StatusPage::json() {
  const Snapshot snapshot = take_snapshot(loop_, master_);
  nlohmann::json jobs = nlohmann::json::array();
  for (const api::JobSummary& job : snapshot.jobs) {
    jobs.push_back({{"name", job.name},
                    {"type", job.type},
                    {"state", job.state},
                    {"applied", job.applied.batch},
                    {"published", job.published},
                    {"records", job.records},
                    {"emitted", job.emitted},
                    {"dead_letters", job.dead_letters},
                    {"lag_records", job.lag_records},
                    {"problem", job.problem}});
  }
  const nlohmann::json page = {
      {"epoch", snapshot.epoch}, {"workers", snapshot.workers}, {"executors", snapshot.executors}, {"jobs", jobs}};
  return text_of_json(page, 2);
}

std::string StatusPage::metrics() {
  ClusterFigures cluster;
  loop_.run_and_wait([&] {
    cluster.epoch = master_.epoch().value();
    cluster.messages_bytes = static_cast<int64_t>(master_.unacknowledged_bytes());
    for (const auto& [process, worker] : master_.workers()) {
      ++(worker.draining ? cluster.workers_draining : cluster.workers_ready);
    }
    for (const auto& [process, executor] : master_.executors()) {
      const bool ready = executor.state == Master::ExecutorEntry::State::kReady;
      ++(ready ? cluster.executors_ready : cluster.executors_starting);
    }
    for (const JobController* job : master_.all_jobs()) cluster.jobs.push_back(job->figures());
  });
  return cluster_metrics_text(cluster);
}

std::string StatusPage::problem() {
  const Snapshot snapshot = take_snapshot(loop_, master_);
  for (const api::JobSummary& job : snapshot.jobs) {
    if (!job.problem.empty()) return "job " + job.name + ": " + job.problem;
  }
  return "";
}

}  // namespace millrace
