#include "master/status_page.h"

#include <functional>
#include <nlohmann/json.hpp>
#include <vector>

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

}  // namespace

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
  return page.dump(2, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string StatusPage::metrics() {
  const Snapshot snapshot = take_snapshot(loop_, master_);
  std::string text;
  const auto family = [&](const std::string& name, const std::string& type, const std::string& help,
                          const std::function<double(const api::JobSummary&)>& value) {
    text += "# HELP " + name + " " + help + "\n# TYPE " + name + " " + type + "\n";
    for (const api::JobSummary& job : snapshot.jobs) {
      text += name + "{job=\"" + job.name + "\"} " + std::to_string(static_cast<int64_t>(value(job))) + "\n";
    }
  };
  text += "# HELP millrace_workers Workers of the cluster.\n# TYPE millrace_workers gauge\nmillrace_workers " +
          std::to_string(snapshot.workers.size()) + "\n";
  family("millrace_job_applied_batch", "gauge", "Newest batch that all state partitions have applied.",
         [](const api::JobSummary& job) { return job.applied.batch; });
  family("millrace_job_published_batch", "gauge", "Newest batch that the sink holds completely.",
         [](const api::JobSummary& job) { return job.published; });
  family("millrace_job_records_total", "counter", "Records processed, dead letters included.",
         [](const api::JobSummary& job) { return job.records; });
  family("millrace_job_dead_letters_total", "counter", "Records that could not be processed.",
         [](const api::JobSummary& job) { return job.dead_letters; });
  family("millrace_job_lag_records", "gauge", "Records of the source that are in no batch yet.",
         [](const api::JobSummary& job) { return job.lag_records; });
  return text;
}

std::string StatusPage::problem() {
  const Snapshot snapshot = take_snapshot(loop_, master_);
  for (const api::JobSummary& job : snapshot.jobs) {
    if (!job.problem.empty()) return "job " + job.name + ": " + job.problem;
  }
  return "";
}

}  // namespace millrace
