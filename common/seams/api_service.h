// ApiService: what the public services ask of the master. One method per method of thrift/millrace.thrift's
// Control and Query; Ingest goes to the embedded log directly and is not part of it.
//
// Implemented by master/control_service.h; called by adapters/api_server.h, which posts to the master's loop. Each
// `done` is called exactly once, on the loop, at once or later.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "millrace_types.h"

namespace millrace {

class ApiService {
 public:
  template <typename T>
  using Done = std::move_only_function<void(Result<T>)>;

  virtual ~ApiService() = default;

  virtual void submit(api::SubmitRequest request, Done<api::JobSummary> done) = 0;
  virtual void jobs(Done<std::vector<api::JobSummary>> done) = 0;
  virtual void job_types(Done<std::vector<api::JobType>> done) = 0;
  virtual void describe(std::string name, Done<api::JobDescription> done) = 0;
  virtual void stop(std::string name, Done<api::JobSummary> done) = 0;
  virtual void resume(std::string name, Done<api::JobSummary> done) = 0;
  virtual void resume_from(std::string name, int64_t batch, Done<api::JobSummary> done) = 0;
  virtual void plan_upgrade(api::UpgradeRequest request, Done<api::UpgradePlan> done) = 0;
  virtual void upgrade(api::UpgradeRequest request, Done<api::JobSummary> done) = 0;
  virtual void kill(std::string name, bool purge, Done<bool> done) = 0;
  virtual void checkpoints(std::string name, Done<std::vector<api::Checkpoint>> done) = 0;
  virtual void batches(std::string name, int32_t n, int64_t before, Done<api::BatchProfiles> done) = 0;
  virtual void workers(Done<std::vector<api::WorkerSummary>> done) = 0;
  virtual void lag(std::string name, Done<api::Lag> done) = 0;

  virtual void get(std::string name, std::vector<std::string> keys, int64_t at_least, std::string table,
                   Done<api::Values> done) = 0;
  virtual void top(std::string name, int32_t n, int64_t at_least, std::string table, Done<api::Values> done) = 0;
  virtual void docs(api::DocsRequest request, Done<api::Docs> done) = 0;
  // `done` may come up to wait_ms later.
  virtual void changes(api::ChangesRequest request, Done<api::Changes> done) = 0;
  virtual void search(api::SearchRequest request, Done<api::Page> done) = 0;
  virtual void totals(std::string name, std::string table, Done<api::Totals> done) = 0;
  virtual void dead_letters(std::string name, int32_t limit, int32_t from_partition, int64_t from_offset,
                            std::string from_topic, Done<api::DeadLetters> done) = 0;
};

}  // namespace millrace
