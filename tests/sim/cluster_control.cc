// SimCluster: its people: who submits and stops jobs, who asks for values, and who waits for the end.

#include <sstream>
#include <utility>

#include "common/base/check.h"
#include "common/model/source_topics.h"
#include "tests/sim/append_job.h"
#include "tests/sim/chain_job.h"
#include "tests/sim/cluster.h"
#include "tests/sim/index_job.h"
#include "tests/sim/level_job.h"
#include "tests/sim/time_jobs.h"

namespace millrace {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr int kMostOpenQuestions = 20;
constexpr int kAskedTop = 5;

}  // namespace

SimCounts& SimCounts::operator+=(const SimCounts& other) {
  master_crashes += other.master_crashes;
  worker_crashes += other.worker_crashes;
  executor_crashes += other.executor_crashes;
  freezes += other.freezes;
  assignments += other.assignments;
  replays += other.replays;
  fenced += other.fenced;
  rounds += other.rounds;
  checkpoints += other.checkpoints;
  merges += other.merges;
  restore_failures += other.restore_failures;
  answers += other.answers;
  changes += other.changes;
  resets += other.resets;
  times_gone_back += other.times_gone_back;
  upgrades += other.upgrades;
  pages += other.pages;
  gone += other.gone;
  return *this;
}

std::ostream& operator<<(std::ostream& out, const SimCounts& counts) {
  return out << "crashes of master " << counts.master_crashes << ", workers " << counts.worker_crashes << ", executors "
             << counts.executor_crashes << "; freezes " << counts.freezes << "; assignments " << counts.assignments
             << ", replays " << counts.replays << ", fenced " << counts.fenced << ", rounds " << counts.rounds
             << ", checkpoints " << counts.checkpoints << ", merges " << counts.merges << ", failed restores "
             << counts.restore_failures << ", answers " << counts.answers << ", batches followed " << counts.changes
             << " with " << counts.resets << " resets, times gone back to a checkpoint " << counts.times_gone_back
             << ", upgrades " << counts.upgrades << ", further pages of searches " << counts.pages << ", searches gone "
             << counts.gone;
}

// --- jobs --------------------------------------------------------------------------------------------------------

template <typename T>
Result<T> SimCluster::ask(const std::function<void(ControlService&, ApiService::Done<T>)>& question) {
  for (;;) {
    const auto started = [this] { return master_ != nullptr && master_->master->started(); };
    CHECK(world_.run_until(started, minutes(1)));
    auto answer = std::make_shared<std::optional<Result<T>>>();
    world_.after(milliseconds(100), [this, &question, answer] {
      question(*master_->service, [answer](Result<T> result) { *answer = std::move(result); });
    });
    CHECK(world_.run_until([&] { return answer->has_value(); }, minutes(1))) << state();
    const bool again = !(*answer)->has_value() && (*answer)->error().code == ErrorCode::kUnavailable;
    if (!again) return std::move(**answer);
  }
}

api::SubmitRequest SimCluster::request_of(const std::string& name) {
  api::SubmitRequest request;
  request.name = name;
  request.type = types_.at(name);
  request.source = options_.topics == 1 ? "log://lines" : "log://lines," + std::string(kSecondTopic);
  request.sink = "none:";
  request.batch_interval_ms = options_.batch_interval_ms;
  request.checkpoint_interval_ms = options_.checkpoint_interval_ms;
  request.state_partitions = options_.state_partitions;
  request.fail_on_bad_record = options_.fail_on_bad_record;
  if (is_append_job(request.type)) request.outputs["words"] = "file:///sim/words";
  if (!options_.libraries) return request;
  request.library = request.type;
  JobContext context;
  context.state_partitions = options_.state_partitions;
  context.batch_interval_us = options_.batch_interval_ms * 1000;
  request.plan = plan_as<api::JobPlan>(plan_of(**make_job(request.type, context)));
  return request;
}

void SimCluster::submit(const std::string& name, const std::string& type) {
  types_[name] = type;
  const auto answer = ask<api::JobSummary>(
      [request = request_of(name)](ControlService& service, auto done) { service.submit(request, std::move(done)); });
  CHECK(answer.has_value()) << answer.error();
}

Result<api::JobSummary> SimCluster::submit_once(const std::string& name, const std::string& type) {
  types_[name] = type;
  std::optional<Result<api::JobSummary>> answer;
  CHECK(world_.run_until([this] { return master_ != nullptr && master_->master->started(); }, minutes(1)));
  world_.after(milliseconds(0), [&] {
    master_->service->submit(request_of(name), [&](Result<api::JobSummary> result) { answer = std::move(result); });
  });
  CHECK(world_.run_until([&] { return answer.has_value(); }, minutes(1))) << state();
  return *answer;
}

void SimCluster::ask_to_stop(const std::string& name) {
  if (master_ == nullptr || !master_->master->started()) return;
  world_.trace("stop " + name);
  master_->service->stop(name, [](const Result<api::JobSummary>&) {});
}

void SimCluster::ask_to_resume(const std::string& name) {
  if (master_ == nullptr || !master_->master->started()) return;
  world_.trace("resume " + name);
  master_->service->resume(name, [](const Result<api::JobSummary>&) {});
}

bool SimCluster::ask_to_go_back(const std::string& name, uint64_t draw) {
  if (master_ == nullptr || !master_->master->started()) return false;
  const JobController* job = master_->master->find_job(name);
  if (job == nullptr || job->needs_executors() || job->record().checkpoints.empty()) return false;
  const auto kept = kept_checkpoints(job->record());
  const int64_t batch = kept[draw % kept.size()].batch;
  world_.trace("resume from " + name, static_cast<uint64_t>(batch));
  master_->service->resume_from(name, batch, [](const Result<api::JobSummary>&) {});
  return true;
}

Result<api::Page> SimCluster::search(const api::SearchRequest& request) {
  return ask<api::Page>([&](ControlService& service, auto done) { service.search(request, std::move(done)); });
}

Result<api::JobSummary> SimCluster::resume_from(const std::string& name, int64_t batch) {
  return ask<api::JobSummary>(
      [&](ControlService& service, auto done) { service.resume_from(name, batch, std::move(done)); });
}

api::UpgradeRequest SimCluster::upgrade_of(const std::string& name, int64_t version) {
  const wire::JobSpec& spec = master_->master->find_job(name)->record().spec;
  api::UpgradeRequest request;
  request.name = name;
  request.type = spec.type;
  request.settings = {{"version", std::to_string(version)}};
  request.from_version = spec.version;
  if (!options_.libraries) return request;
  request.library = request.type + "#" + std::to_string(version);
  JobContext context = context_of(spec);
  context.settings = request.settings;
  request.plan = plan_as<api::JobPlan>(plan_of(**make_job(request.type, context)));
  return request;
}

bool SimCluster::ask_to_upgrade(const std::string& name) {
  if (master_ == nullptr || !master_->master->started()) return false;
  const JobController* job = master_->master->find_job(name);
  if (job == nullptr || job->needs_executors() || job->phase() == JobController::Phase::kLoading) return false;
  api::UpgradeRequest request = upgrade_of(name, job->record().incarnation + 1);
  world_.trace("upgrade " + name);
  ControlService& service = *master_->service;
  service.plan_upgrade(request, [this, &service, request](const Result<api::UpgradePlan>& plan) mutable {
    if (!plan.has_value()) return;
    agree_to(*plan, request);
    service.upgrade(request, [this](const Result<api::JobSummary>& done) {
      if (done.has_value()) ++counts_.upgrades;
    });
  });
  return true;
}

void SimCluster::agree_to(const api::UpgradePlan& plan, api::UpgradeRequest& request) {
  for (const api::StateChange& state : plan.states) {
    if (state.fate == "dropped") request.drop.push_back(state.name);
  }
}

Result<api::UpgradePlan> SimCluster::plan_upgrade(const api::UpgradeRequest& request) {
  return ask<api::UpgradePlan>(
      [&](ControlService& service, auto done) { service.plan_upgrade(request, std::move(done)); });
}

Result<api::JobSummary> SimCluster::upgrade(const api::UpgradeRequest& request) {
  return ask<api::JobSummary>([&](ControlService& service, auto done) { service.upgrade(request, std::move(done)); });
}

void SimCluster::ask_to_kill(const std::string& name, bool purge) {
  if (master_ == nullptr || !master_->master->started()) return;
  world_.trace("kill " + name, purge ? 1 : 0);
  master_->service->kill(name, purge, [](const Result<bool>&) {});
}

void SimCluster::ask_to_submit_again(const std::string& name) {
  if (master_ == nullptr || !master_->master->started() || master_->master->find_job(name) != nullptr) return;
  world_.trace("submit " + name);
  api::SubmitRequest request = request_of(name);
  request.take_over = true;
  master_->service->submit(request, [](const Result<api::JobSummary>&) {});
}

void SimCluster::kill_and_submit(const std::string& name, bool purge) {
  const auto killed =
      ask<bool>([&](ControlService& service, auto done) { service.kill(name, purge, std::move(done)); });
  CHECK(killed.has_value()) << killed.error();
  api::SubmitRequest request = request_of(name);
  request.take_over = !purge;
  const auto answer =
      ask<api::JobSummary>([&](ControlService& service, auto done) { service.submit(request, std::move(done)); });
  CHECK(answer.has_value()) << answer.error();
}

void SimCluster::append_lines(int lines) {
  SimRandom& text = world_.random("text");
  for (int i = 0; i < lines; ++i) {
    std::string line;
    const uint64_t words = text.below(6);
    for (uint64_t word = 0; word < words; ++word) {
      line += word == 0 ? "" : " ";
      line += "w" + std::to_string(text.below(1 + text.below(40)));
    }
    if (text.chance(0.02)) line += "\xff";
    const std::vector<LogPartition> partitions = topic_->ids();
    topic_->append(partitions[text.below(partitions.size())], std::vector<std::string>{line});
  }
}

// --- a client ----------------------------------------------------------------------------------------------------

void SimCluster::start_client() {
  world_.after(milliseconds(17), [this] {
    for (const auto& [name, type] : types_) {
      client_asks(name);
      client_follows(name);
      SimRandom& random = world_.random("searches");
      if (!random.chance(options_.searches)) continue;
      api::SearchRequest request;
      request.name = name;
      request.prefix = random.chance(0.5) ? "" : "w" + std::to_string(random.below(4));
      request.limit = static_cast<int32_t>(1 + random.below(8));
      client_searches(request, std::nullopt);
    }
    start_client();
  });
}

// Held by the answer's function: a master that crashes takes it along unanswered.
std::shared_ptr<void> SimCluster::open_question() {
  ++open_questions_;
  return {nullptr, [this](void*) { --open_questions_; }};
}

void SimCluster::client_asks(const std::string& name) {
  if (master_ == nullptr || !master_->master->started() || open_questions_ >= kMostOpenQuestions) return;
  SimRandom& random = world_.random("client");
  if (is_index_job(types_[name]) && random.chance(0.5)) {
    api::DocsRequest request;
    request.name = name;
    request.key = "w" + std::to_string(random.below(1 + random.below(42)));
    request.limit = 2;
    return client_turns_pages(request, std::nullopt);
  }
  const auto ticket = open_question();
  if (random.chance(0.5)) {
    const int64_t floor = oracle_.newest_answered(name, true);
    master_->service->top(name, kAskedTop, 0, "", [this, name, floor, ticket](const Result<api::Values>& values) {
      if (!values.has_value()) return;
      ++counts_.answers;
      oracle_.on_top(name, kAskedTop, *values, floor);
    });
    return;
  }
  std::vector<std::string> words;
  for (int i = 0; i < 3; ++i) words.push_back("w" + std::to_string(random.below(1 + random.below(42))));
  if (types_[name] == kLevelJob) words.push_back(level_key(static_cast<int64_t>(1 + random.below(20))));
  if (types_[name] == kFadingCountsJob) words.push_back(std::to_string(1 + random.below(20)));
  const std::string table = types_[name] == kChainJob && random.chance(0.5) ? kChainCounts : "";
  const int64_t floor = oracle_.newest_answered(name, false);
  master_->service->get(name, std::move(words), 0, table,
                        [this, name, floor, ticket](const Result<api::Values>& values) {
                          if (!values.has_value()) return;
                          ++counts_.answers;
                          oracle_.on_values(name, *values, floor);
                        });
}

void SimCluster::client_follows(const std::string& name) {
  std::shared_ptr<Following>& following = following_[name];
  if (following == nullptr) following = std::make_shared<Following>();
  if (master_ == nullptr || !master_->master->started() || following->asked) return;
  api::ChangesRequest request;
  request.name = name;
  request.after = following->position;
  request.wait_ms = static_cast<int32_t>(world_.random("client").below(50));
  following->asked = true;
  // A master that crashes takes the question along.
  const std::shared_ptr<void> asked(nullptr, [following](void*) { following->asked = false; });
  master_->service->changes(request, [this, request, asked, following](const Result<api::Changes>& changes) {
    if (!changes.has_value()) return;
    counts_.changes += changes->batches.size();
    counts_.resets += changes->reset ? 1 : 0;
    oracle_.on_changes(request, *changes);
    following->position = changes->position;
  });
}

// Each page is as of its own batch.
void SimCluster::client_turns_pages(const api::DocsRequest& request, const std::optional<api::Doc>& after) {
  if (master_ == nullptr || !master_->master->started()) return;
  const int64_t floor = oracle_.newest_answered(request.name, false);
  master_->service->docs(
      request, [this, request, after, floor, ticket = open_question()](const Result<api::Docs>& docs) {
        if (!docs.has_value()) return;
        ++counts_.answers;
        oracle_.on_docs(request.name, request, after, *docs, floor);
        if (docs->next_page.empty() || docs->docs.empty()) return;
        api::DocsRequest next = request;
        next.after = docs->next_page;
        world_.after(milliseconds(1), [this, next, last = docs->docs.back()] { client_turns_pages(next, last); });
      });
}

// Page by page, by a reader who takes time; or the totals.
void SimCluster::client_searches(const api::SearchRequest& request, const std::optional<api::Page>& before) {
  if (master_ == nullptr || !master_->master->started()) return;
  if (!before && open_questions_ >= kMostOpenQuestions) return;
  const auto ticket = open_question();
  if (!before && world_.random("searches").chance(0.2)) {
    master_->service->totals(request.name, "", [this, request, ticket](const Result<api::Totals>& totals) {
      if (totals.has_value()) oracle_.on_totals(request.name, *totals);
    });
    return;
  }
  master_->service->search(request, [this, request, before, ticket](const Result<api::Page>& page) {
    if (!page.has_value()) {
      counts_.gone += page.error().code == ErrorCode::kDataLost ? 1 : 0;
      return;
    }
    oracle_.on_page(request, before, *page);
    counts_.pages += before ? 1 : 0;
    if (page->next_page.empty() || page->entries.empty()) return;
    api::SearchRequest next = request;
    next.after = page->next_page;
    world_.after(milliseconds(world_.random("searches").below(100)),
                 [this, next, last = *page] { client_searches(next, last); });
  });
}

// --- the end -----------------------------------------------------------------------------------------------------

bool SimCluster::is_caught_up(const std::string& name) {
  const FakeSinkServer::Keys* keys = sink_server_->find(name);
  const JobController* job = master_ == nullptr ? nullptr : master_->master->find_job(name);
  if (keys == nullptr || job == nullptr || job->id() != keys->job) return false;
  const SourceTopics topics = SourceTopics::of(request_of(name).source);
  std::string ends;
  for (const LogDescription::Partition& partition : topic_->describe().partitions) {
    ends += (ends.empty() ? "" : ",") + topics.label(partition.id) + ":" + std::to_string(partition.end.value());
  }
  const auto offsets = keys->status.find("offsets");
  return offsets != keys->status.end() && offsets->second == ends;
}

bool SimCluster::all_caught_up() {
  for (const auto& [name, type] : types_) {
    if (!is_caught_up(name)) return false;
  }
  return !is_appending();
}

std::string SimCluster::failure_of(const std::string& name) {
  JobController* job = master_ == nullptr ? nullptr : master_->master->find_job(name);
  return job != nullptr && job->phase() == JobController::Phase::kFailed ? job->record().problem : "";
}

// As people do who want their jobs to run, from time to time.
void SimCluster::bring_back() {
  if (!finishing_) return;
  world_.after(milliseconds(500), [this] { bring_back(); });
  if (master_ == nullptr || !master_->master->started()) return;
  for (const auto& [name, type] : types_) {
    JobController* job = master_->master->find_job(name);
    if (job == nullptr) ask_to_submit_again(name);
    if (job != nullptr && job->phase() == JobController::Phase::kStopped) ask_to_resume(name);
  }
}

// What disks hold of a job that is no more: the first of it, or empty.
std::string SimCluster::leftovers() {
  std::set<std::string> ids;
  for (JobController* job : master_->master->all_jobs()) ids.insert(to_string(job->id()));
  const auto is_of_a_job = [&](const std::string& id) { return id.empty() || ids.contains(id); };
  for (const auto& [name, bytes] : checkpoint_disk_->files) {
    const std::string folder = name.substr(0, name.find('/'));  // NAME-JOB, or that of the probes
    const size_t dash = folder.rfind('-');
    if (dash != std::string::npos && !is_of_a_job(folder.substr(dash + 1))) return name;
  }
  for (const auto& [key, value] : metadata_disk_->values) {
    const size_t slash = key.find('/');  // KIND/JOB or KIND/JOB/...
    if (slash == std::string::npos || key.starts_with("job/")) continue;
    if (!is_of_a_job(key.substr(slash + 1, key.find('/', slash + 1) - slash - 1))) return key;
  }
  return "";
}

bool SimCluster::finish() {
  world_.set_faults(false);
  world_.heal();
  make_cuts();
  sink_server_->failure.reset();
  output_place_->failure.reset();
  metadata_disk_->failure.reset();
  checkpoint_disk_->failure = nullptr;
  topic_->set_available(true);
  start();
  finishing_ = true;
  bring_back();
  const auto failed = [this] {
    for (const auto& [name, type] : types_) {
      if (!failure_of(name).empty()) return true;
    }
    return false;
  };
  const auto over = [&] { return !oracle_.breach().empty() || failed() || all_caught_up(); };
  const bool ended = world_.run_until(over, options_.patience);
  finishing_ = false;
  if (!ended || !oracle_.breach().empty() || failed()) return false;
  const auto at_rest = [this](const auto& job) {
    const JobController* known = master_->master->find_job(job.first);
    return oracle_.is_at_rest(job.first) && known != nullptr && known->describe().recovering_partitions == 0;
  };
  // A while at rest: what is late must not change anything. Where workers are cut from each other, owners may change in
  // it, and hold the last publication up.
  uint64_t assignments = 0;
  for (int tries = 0; tries < 100 && assignments != counts_.assignments; ++tries) {
    if (!world_.run_until([&] { return std::ranges::all_of(types_, at_rest); }, options_.patience)) return false;
    assignments = counts_.assignments;
    world_.run_for(seconds(1));
  }
  for (const auto& [name, type] : types_) oracle_.check_rest(name);
  // Asked now and then: it looks at all that the disks hold.
  for (int waited = 0; waited < 600 && !leftovers().empty(); ++waited) world_.run_for(milliseconds(100));
  return oracle_.breach().empty() && leftovers().empty();
}

std::string SimCluster::state() {
  std::ostringstream out;
  out << "seed " << world_.seed() << ", virtual time " << to_ms(world_.now()) << " ms\n";
  if (!oracle_.breach().empty()) out << "ORACLE: " << oracle_.breach() << "\n";
  out << counts() << "\n";
  if (master() == nullptr) return out.str() + "no master";
  out << "workers " << master()->workers().size() << ", executors " << master()->executors().size() << " ("
      << executors_.size() << " processes)\n";
  if (const std::string left = leftovers(); !left.empty()) out << "of a killed job is left: " << left << "\n";
  for (JobController* job : master()->all_jobs()) {
    const api::JobDescription description = job->describe();
    out << "job " << description.summary.name << " is " << description.summary.state << ", applied "
        << description.summary.applied.batch << ", published " << description.summary.published << ", records "
        << description.summary.records << ", checkpoint " << description.checkpoint_batch << ", recovering "
        << description.recovering_partitions << ", problem '" << description.summary.problem << "'\n"
        << job->internals() << "\n";
    for (const api::ExecutorSummary& executor : description.executors) {
      out << "  executor " << executor.process << " on " << executor.worker << ": states " << executor.state_partitions
          << ", logs " << executor.log_partitions << ", applied " << executor.applied << "\n";
    }
  }
  return out.str();
}

}  // namespace millrace
