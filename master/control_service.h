// ControlService: the public services on a Master: validates what clients send, and keeps order in what is not done
// at once (submit, resume and kill of one name exclude each other).
//
// Lives on the master's loop.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "common/runtime/lifetime.h"
#include "common/seams/api_service.h"
#include "master/master.h"

namespace millrace {

class ControlService : public ApiService {
 public:
  explicit ControlService(Master& master) : master_(master) {}

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

  struct Submission;
  struct Renewal;

 private:
  static constexpr Duration kSettleLimit = std::chrono::seconds(2);

  [[nodiscard]] Status started() const;  // kUnavailable until the master takes part
  Result<JobController*> find(const std::string& name);
  // The same, of a job that nothing else is done with just now.
  Result<JobController*> find_idle(const std::string& name);
  void describe_log(const std::shared_ptr<Submission>& held);
  void find_start(const std::shared_ptr<Submission>& held, const LogDescription& log);
  void claim_sink(const std::shared_ptr<Submission>& held);
  // The outputs' places: master/control_outputs.cc.
  [[nodiscard]] Status check_outputs(const wire::JobSpec& spec, const JobPlan& plan) const;
  [[nodiscard]] Result<std::vector<std::unique_ptr<Output>>> make_outputs(const Submission& submission);
  void claim_outputs(const std::shared_ptr<Submission>& held, size_t next);
  void release_outputs(const std::shared_ptr<Submission>& held, size_t next);
  [[nodiscard]] Status check_directory(const std::string& receiver) const;
  void store_library(const std::shared_ptr<Submission>& submission);
  void save_job(const std::shared_ptr<Submission>& submission);
  void take_back(const std::shared_ptr<Submission>& submission, Status failed);
  // Takes back a claim that may have been, or will be, carried out, so that the name is free for the next submit.
  void release_sink(const std::shared_ptr<Submission>& held);
  void finish_submission(const std::shared_ptr<Submission>& submission, Status status);
  void answer_when_settled(const std::string& name, int64_t id, MonotonicTime deadline, Done<api::JobSummary> done);
  void forget_job(const std::string& name, Done<bool> done);
  // An upgrade: the steps, one after the other, up to those of any new incarnation.
  [[nodiscard]] Result<wire::JobSpec> upgraded_spec(const wire::JobRecord& record,
                                                    const api::UpgradeRequest& request) const;
  void remove_old_libraries(const std::shared_ptr<Renewal>& renewal);
  void store_new_library(const std::shared_ptr<Renewal>& renewal);
  void check_new_library(const std::shared_ptr<Renewal>& renewal);
  void begin_upgrade(const std::shared_ptr<Renewal>& renewal);
  // A new incarnation: the steps, one after the other.
  void read_checkpoint(const std::shared_ptr<Renewal>& held);
  void look_for_files(const std::shared_ptr<Renewal>& held);
  void look_for_records(const std::shared_ptr<Renewal>& held);
  static void note_former_version(const std::shared_ptr<Renewal>& renewal);
  [[nodiscard]] Status check_parts(const wire::JobSpec& spec) const;
  void renew(const std::shared_ptr<Renewal>& renewal);
  void commit_renewal(const std::shared_ptr<Renewal>& renewal, const WriteSet& set);
  void refuse_renewal(const std::shared_ptr<Renewal>& renewal, const Error& error);
  // A job whose record says so runs from here on; answered when it does.
  void go_on(wire::JobRecord record, Done<api::JobSummary> done);

  Master& master_;  // outlives this
  // Under way. What their logs and sinks call back holds no part in them: a submission owns its log and sink.
  std::set<std::shared_ptr<Submission>> submissions_;
  std::set<std::shared_ptr<Renewal>> renewals_;  // in the same way
  std::set<std::string> busy_;                   // names that are being submitted, resumed, upgraded or killed
  Lifetime lifetime_;
};

// All that the job can go back to, oldest first.
std::vector<wire::CheckpointRef> kept_checkpoints(const wire::JobRecord& record);

// kInvalid: together they are too large, or a setting has no name.
Status check_settings(const wire::JobSpec& spec);
// What a client says of a library's job.
Status check_library(const std::string& library, const JobPlan& plan);
Status check_levels(const wire::JobSpec& spec);

// What a request asks for, checked and completed; kInvalid says what is wrong with it and what is expected.
Result<wire::JobSpec> make_spec(const api::SubmitRequest& request);

}  // namespace millrace
