// RemoteApi: a master's ApiService from another process, over its public services. Calls wait for a thread of a pool,
// of which each has a connection of its own: questions have some, changes of jobs (which are long) others, readers that
// wait for what changes in a job others again, and those that read whole tables, so that none of them waits for one of
// another kind.
#pragma once

#include <cstddef>
#include <memory>

#include "common/model/address.h"
#include "common/seams/api_service.h"

namespace millrace {

struct RemoteApiOptions {
  HostPort master;
  size_t questions = 8;  // at once
  size_t commands = 4;
  size_t followers = 16;
  size_t pages = 4;
  size_t most_waiting = 1000;  // of each kind; then calls are answered kUnavailable
};

// Thread-safe. `done` is called on a thread of this, or, where too many wait, at once. Errors are as the master says
// them, or kUnavailable: it does not answer, and the outcome is unknown.
class RemoteApi final : public ApiService {
 public:
  explicit RemoteApi(RemoteApiOptions options);
  // Waits for the calls that are under way; those that wait for a thread are answered kUnavailable.
  ~RemoteApi() override;
  RemoteApi(const RemoteApi&) = delete;
  RemoteApi& operator=(const RemoteApi&) = delete;

  void submit(api::SubmitRequest request, Done<api::JobSummary> done) override;
  void jobs(Done<std::vector<api::JobSummary>> done) override;
  void job_types(Done<std::vector<api::JobType>> done) override;
  void describe(std::string name, Done<api::JobDescription> done) override;
  void stop(std::string name, Done<api::JobSummary> done) override;
  void resume(std::string name, Done<api::JobSummary> done) override;
  void resume_from(std::string name, int64_t batch, Done<api::JobSummary> done) override;
  void plan_upgrade(api::UpgradeRequest request, Done<api::UpgradePlan> done) override;
  void upgrade(api::UpgradeRequest request, Done<api::JobSummary> done) override;
  void kill(std::string name, bool purge, Done<bool> done) override;
  void checkpoints(std::string name, Done<std::vector<api::Checkpoint>> done) override;
  void batches(std::string name, int32_t n, int64_t before, Done<api::BatchProfiles> done) override;
  void workers(Done<std::vector<api::WorkerSummary>> done) override;
  void lag(std::string name, Done<api::Lag> done) override;
  void get(std::string name, std::vector<std::string> keys, int64_t at_least, std::string table,
           Done<api::Values> done) override;
  void top(std::string name, int32_t n, int64_t at_least, std::string table, Done<api::Values> done) override;
  void docs(api::DocsRequest request, Done<api::Docs> done) override;
  void changes(api::ChangesRequest request, Done<api::Changes> done) override;
  void search(api::SearchRequest request, Done<api::Page> done) override;
  void totals(std::string name, std::string table, Done<api::Totals> done) override;
  void dead_letters(std::string name, int32_t limit, int32_t from_partition, int64_t from_offset,
                    std::string from_topic, Done<api::DeadLetters> done) override;

 private:
  class Pool;
  const std::unique_ptr<Pool> questions_;
  const std::unique_ptr<Pool> commands_;
  const std::unique_ptr<Pool> followers_;
  const std::unique_ptr<Pool> pages_;
};

}  // namespace millrace
