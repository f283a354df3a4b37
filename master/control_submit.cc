// ControlService: submit.

#include <algorithm>
#include <memory>
#include <utility>

#include "common/base/check.h"
#include "common/model/address.h"
#include "common/model/hash.h"
#include "common/model/source_topics.h"
#include "common/model/start_at.h"
#include "common/model/uri.h"
#include "master/control_service.h"
#include "master/log_offsets.h"
#include "master/submission.h"

namespace millrace {
namespace {

constexpr Duration kDescribePause = std::chrono::milliseconds(200);
constexpr Duration kDescribeLimit = std::chrono::seconds(3);  // no new try after that: somebody waits
// Of the URIs and all settings of a job together: they are in its record and in each message that starts an executor.
constexpr size_t kMaxTextBytes = 64 << 10;
constexpr size_t kMaxLibraryBytes = 12 << 20;  // a message of Thrift has 16 MiB
constexpr int32_t kMostPartitionsWithLevels = 1024;
constexpr char kSources[] = "kafka://HOST:PORT/TOPIC or log://NAME";
constexpr char kSinks[] = "redis://HOST:PORT or none:";
constexpr int kClaimTries = 4;
constexpr Duration kClaimPause = std::chrono::milliseconds(200);
constexpr Duration kClaimLimit = std::chrono::milliseconds(1000);  // no new try after that: somebody waits
constexpr Duration kSettlePause = std::chrono::milliseconds(20);
constexpr int kReleaseTries = 60;
constexpr Duration kReleasePause = std::chrono::milliseconds(1000);

// Of a start that is no time.
Result<LogOffsets> offsets_to_start_at(const StartAt& start, const SourceTopics& topics, const LogDescription& log) {
  const auto invalid = [](const std::string& message) { return fail(ErrorCode::kInvalid, "--start" + message); };
  LogOffsets offsets;
  auto left = start.offsets;
  for (const LogDescription::Partition& partition : log.partitions) {
    if (start.place != StartAt::Place::kOffsets) {
      offsets[partition.id] = start.place == StartAt::Place::kLatest ? partition.end : partition.begin;
      continue;
    }
    const std::string name =
        topics.several() ? topics.place(partition.id) : "partition " + std::to_string(partition.id.value());
    auto given = left.extract({topics.name_of(partition.id), topic_partition(partition.id)});
    if (given.empty() && !topics.several()) given = left.extract({"", topic_partition(partition.id)});
    if (given.empty()) {
      return invalid(" names no offset of " + name + "; name one of each of the " +
                     std::to_string(log.partitions.size()) + " partitions" +
                     (topics.several() ? ", as " + topics.label(partition.id) + "=0" : ""));
    }
    if (given.mapped() < partition.begin || given.mapped() > partition.end) {
      return invalid(": " + name + " holds the offsets " + std::to_string(partition.begin.value()) + " to " +
                     std::to_string(partition.end.value()) + "; " + std::to_string(given.mapped().value()) +
                     " is none of them");
    }
    offsets[partition.id] = given.mapped();
  }
  if (left.empty()) return offsets;
  const auto& [topic, partition] = left.begin()->first;
  const std::string named = (topic.empty() ? "" : topic + ":") + std::to_string(partition);
  if (topics.several()) {
    return invalid(" names partition " + named +
                   ", which the source does not have; name each of its partitions once, as " +
                   topics.label(log.partitions.front().id) + "=0");
  }
  return invalid(" names partition " + named + "; the source has partitions 0 to " +
                 std::to_string(log.partitions.size() - 1));
}

}  // namespace

namespace {

Status check_source(const Uri& source) {
  if (const auto topics = SourceTopics::parse(source); !topics.has_value()) {
    return fail(ErrorCode::kInvalid, "--source: " + topics.error().message);
  }
  if (source.scheme == "log") return {};
  for (size_t begin = 0; begin <= source.authority.size();) {
    const size_t end = std::min(source.authority.find(',', begin), source.authority.size());
    const auto broker = parse_address("--source: the broker", source.authority.substr(begin, end - begin));
    if (!broker.has_value()) return std::unexpected(broker.error());
    begin = end + 1;
  }
  return {};
}

// Of a longer line no more than its begin would be handed on, and be taken for a record; what holds it must be a
// message of the API, too.
constexpr int64_t kMostReceivedBytes = 8 << 20;

Status check_receiver(const api::SubmitRequest& request) {
  if (request.receiver.empty()) return {};
  const auto invalid = [](const std::string& message) { return fail(ErrorCode::kInvalid, "--source: " + message); };
  const Result<Uri> receiver = parse_uri(request.receiver, "socket://HOST:PORT or directory:///PATH");
  if (!receiver.has_value()) return invalid(receiver.error().message);
  if (receiver->scheme == "socket") {
    const auto server = parse_address("--source: the server", receiver->authority);
    if (!server.has_value()) return std::unexpected(server.error());
    if (server->port == 0 || !receiver->path.empty()) return invalid("expected socket://HOST:PORT");
  } else if (receiver->scheme != "directory") {
    return invalid("'" + receiver->scheme + "' needs no log to go through; expected socket:// or directory://");
  }
  if (SourceTopics::of(request.source).several()) {
    return invalid("what is received goes into one topic or log; --through names several: " + request.source);
  }
  if (request.max_record_bytes <= kMostReceivedBytes) return {};
  return invalid("what comes through a log has records of " + std::to_string(kMostReceivedBytes >> 20) +
                 " MiB at most; lower --max-record-bytes");
}

}  // namespace

Status check_settings(const wire::JobSpec& spec) {
  size_t bytes = spec.source.size() + spec.sink.size() + spec.receiver.size();
  for (const auto* settings :
       {&spec.settings, &spec.source_config, &spec.sink_config, &spec.outputs, &spec.output_config}) {
    if (settings->contains("")) return fail(ErrorCode::kInvalid, "a setting has no name; expected KEY=VALUE");
    for (const auto& [key, value] : *settings) bytes += key.size() + value.size();
  }
  if (bytes <= kMaxTextBytes) return {};
  return fail(ErrorCode::kInvalid, "--source, --sink, --output and all settings are " + std::to_string(bytes) +
                                       " bytes; together they may be " + std::to_string(kMaxTextBytes));
}

Result<wire::JobSpec> make_spec(const api::SubmitRequest& request) {
  if (Status named = check_name("a job's name", request.name); !named.has_value()) {
    return std::unexpected(named.error());
  }
  if (Status named = check_name("a job's type", request.type); !named.has_value()) {
    return std::unexpected(named.error());
  }
  const auto invalid = [](const std::string& message) { return fail(ErrorCode::kInvalid, message); };
  const Result<Uri> source = parse_uri(request.source, kSources);
  if (!source.has_value()) return invalid("--source: " + source.error().message);
  if (source->scheme != "kafka" && source->scheme != "log") {
    return invalid("--source: '" + source->scheme + "' is no kind of source; expected " + kSources);
  }
  if (Status good = check_source(*source); !good.has_value()) return std::unexpected(good.error());
  if (Status good = check_receiver(request); !good.has_value()) return std::unexpected(good.error());
  const Result<Uri> sink = parse_uri(request.sink, kSinks);
  if (!sink.has_value()) return invalid("--sink: " + sink.error().message);
  if (sink->scheme != "redis" && sink->scheme != "none") {
    return invalid("--sink: '" + sink->scheme + "' is no kind of sink; expected " + kSinks);
  }
  if (request.batch_interval_ms < 1 || request.batch_interval_ms > 600'000) {
    return invalid("--batch-interval must be from 1ms to 10m");
  }
  if (request.checkpoint_interval_ms < request.batch_interval_ms || request.checkpoint_interval_ms > 86'400'000) {
    return invalid("--checkpoint-interval must be from the batch interval to 24h");
  }
  if (const Result<StartAt> start = parse_start(request.start); !start.has_value()) {
    return invalid("--start: " + start.error().message);
  }
  if (request.state_partitions < 1 || request.state_partitions > 4096) {
    return invalid("--state-partitions must be from 1 to 4096");
  }
  if (request.max_record_bytes < 1 || request.max_record_bytes > (1LL << 30)) {
    return invalid("--max-record-bytes must be from 1 to 1 GiB");
  }
  wire::JobSpec spec;
  spec.name = request.name;
  spec.type = request.type;
  spec.source = request.source;
  spec.receiver = request.receiver;
  spec.sink = request.sink;
  spec.settings = request.settings;
  spec.source_config = request.source_config;
  spec.sink_config = request.sink_config;
  spec.outputs = request.outputs;
  spec.output_config = request.output_config;
  spec.batch_interval_us = request.batch_interval_ms * 1000;
  spec.checkpoint_interval_us = request.checkpoint_interval_ms * 1000;
  spec.state_partitions = request.state_partitions;
  spec.partition_hash = 1;
  spec.max_record_bytes = request.max_record_bytes;
  spec.fail_on_bad_record = request.fail_on_bad_record;
  spec.lane_memory_bytes = 64 << 20;
  spec.take_over = request.take_over;
  spec.max_batch_records = 2'000'000;
  if (Status small = check_settings(spec); !small.has_value()) return std::unexpected(small.error());
  return spec;
}

// Files are read and moved by the workers' user on behalf of whoever reaches the API.
Status ControlService::check_directory(const std::string& receiver) const {
  if (!receiver.starts_with("directory:")) return {};
  const std::string path = "/" + parse_uri(receiver).value().path + "/";
  for (const std::string& folder : master_.options().receiver_directories) {
    if (path.starts_with(folder.ends_with('/') ? folder : folder + "/") && !path.contains("/../")) return {};
  }
  return fail(ErrorCode::kInvalid, "--source: jobs may not take files of " + path + ", only below " +
                                       allowed_folders(master_.options().receiver_directories) +
                                       "; start the master with another --receiver_directories");
}

void ControlService::submit(api::SubmitRequest request, Done<api::JobSummary> done) {
  Result<wire::JobSpec> spec = make_spec(request);
  if (!spec.has_value()) return done(std::unexpected(spec.error()));
  if (Status allowed = check_directory(request.receiver); !allowed.has_value()) {
    return done(std::unexpected(allowed.error()));
  }
  if (Status ready = started(); !ready.has_value()) return done(std::unexpected(ready.error()));
  if (master_.find_job(request.name) != nullptr || busy_.contains(request.name)) {
    return done(
        fail(ErrorCode::kExists, "there is a job '" + request.name + "' already; kill it first or take another name"));
  }
  const JobId id(master_.deps().random.next_id());
  if (!request.library.empty()) {
    const Status good = check_library(request.library, plan_from(request.plan));
    if (!good.has_value()) return done(std::unexpected(good.error()));
    spec->plan = plan_as<wire::JobPlan>(plan_from(request.plan));
    spec->library = job_folder(spec->name, id) + "/job.so";
    spec->library_hash = static_cast<int64_t>(hash_of(request.library));
  }
  auto plan = master_.plan_of_job(*spec);
  if (!plan.has_value()) return done(std::unexpected(plan.error()));
  spec->plan = plan_as<wire::JobPlan>(*plan);
  if (Status good = check_levels(*spec); !good.has_value()) return done(std::unexpected(good.error()));
  if (Status good = check_outputs(*spec, *plan); !good.has_value()) return done(std::unexpected(good.error()));
  auto log = master_.deps().make_log(*spec);
  if (!log.has_value()) return done(std::unexpected(log.error()));
  auto sink = master_.deps().make_sink(*spec);
  if (!sink.has_value()) return done(std::unexpected(sink.error()));

  auto submission = std::make_shared<Submission>();
  submission->record.job = signed_of(id);
  submission->record.incarnation = 1;
  submission->record.state = wire::JobState::RUNNING;
  submission->record.created_ms = master_.deps().clock.wall_now().unix_ms;
  submission->record.spec = std::move(*spec);
  submission->start = *parse_start(request.start);
  submission->log = std::move(*log);
  submission->sink = std::move(*sink);
  auto outputs = make_outputs(*submission);
  if (!outputs.has_value()) return done(std::unexpected(outputs.error()));
  submission->outputs = std::move(*outputs);
  submission->library = std::move(request.library);
  submission->done = std::move(done);
  submission->described_first = master_.deps().clock.now();
  busy_.insert(request.name);
  submissions_.insert(submission);
  describe_log(submission);
}

Status check_levels(const wire::JobSpec& spec) {
  if (spec.plan.levels <= 1 || spec.state_partitions <= kMostPartitionsWithLevels) return {};
  return fail(ErrorCode::kInvalid, "the job has " + std::to_string(spec.plan.levels) +
                                       " shuffles in a batch, in each of which every state partition sends to every "
                                       "other one: --state-partitions must be from 1 to " +
                                       std::to_string(kMostPartitionsWithLevels));
}

Status check_library(const std::string& library, const JobPlan& plan) {
  if (library.size() > kMaxLibraryBytes) {
    return fail(ErrorCode::kInvalid, "the job library has " + std::to_string(library.size()) + " bytes; up to " +
                                         std::to_string(kMaxLibraryBytes) +
                                         " are taken: build it with optimisation, and strip it");
  }
  if (Status good = check_tables(plan.tables); !good.has_value()) return good;
  size_t bytes = 0;
  for (const StatePlan& state : plan.states) {
    bytes += state.name.size() + state.layout.size();
    for (const std::string& source : state.of) bytes += source.size();
    for (const std::string& former : state.reads) bytes += former.size();
  }
  if (bytes > kMaxTextBytes) {
    return fail(ErrorCode::kInvalid, "the names and layouts of the job's states are " + std::to_string(bytes) +
                                         " bytes; together they may be " + std::to_string(kMaxTextBytes));
  }
  if (Status good = check_output_plans(plan); !good.has_value()) return good;
  if (plan.levels < 1 || plan.levels > JobPlan::kMaxLevels) {
    return fail(ErrorCode::kInvalid, "the job has " + std::to_string(plan.levels) + " levels; there can be 1 to " +
                                         std::to_string(JobPlan::kMaxLevels));
  }
  return {};
}

void ControlService::describe_log(const std::shared_ptr<Submission>& held) {
  held->log->describe(lifetime_.guard([this, weak = std::weak_ptr(held)](Result<LogDescription> described) {
    const auto submission = weak.lock();
    // A log that was just made may not be there in all its parts.
    const bool passing = !described.has_value() && described.error().code == ErrorCode::kUnavailable;
    if (passing && master_.deps().clock.now() - submission->described_first < kDescribeLimit) {
      master_.deps().loop.schedule(kDescribePause, lifetime_.guard([this, submission] { describe_log(submission); }));
      return;
    }
    if (!described.has_value()) return finish_submission(submission, std::unexpected(described.error()));
    if (!described->unfit.empty()) return finish_submission(submission, fail(ErrorCode::kInvalid, described->unfit));
    if (described->partitions.empty()) {
      return finish_submission(submission, fail(ErrorCode::kNotFound, "the source has no partitions"));
    }
    submission->record.spec.topic_id = described->topic_id;
    find_start(submission, *described);
  }));
}

void ControlService::find_start(const std::shared_ptr<Submission>& held, const LogDescription& log) {
  const auto begin = [this, log](const std::shared_ptr<Submission>& submission, const LogOffsets& offsets) {
    LogOffsets start;
    for (const auto& partition : log.partitions)
      start[partition.id] = std::max(offsets.at(partition.id), partition.begin);
    set_start(submission->record.spec, start);
    store_library(submission);
  };
  if (held->start.place != StartAt::Place::kTime) {
    const auto offsets = offsets_to_start_at(held->start, SourceTopics::of(held->record.spec.source), log);
    if (!offsets.has_value()) return finish_submission(held, std::unexpected(offsets.error()));
    return begin(held, *offsets);
  }
  held->log->find_time(
      held->start.time_ms, lifetime_.guard([this, begin, log, weak = std::weak_ptr(held)](Result<LogOffsets> found) {
        const auto submission = weak.lock();
        const auto is_missing = [&](const auto& partition) { return !found->contains(partition.id); };
        if (found.has_value() && std::ranges::any_of(log.partitions, is_missing)) {
          found = fail(ErrorCode::kUnavailable, "the source changed while it was looked at; submit again");
        }
        if (!found.has_value()) return finish_submission(submission, std::unexpected(found.error()));
        begin(submission, *found);
      }));
}

// The library is in the store before the outputs and the sink are claimed. Until the job is in the registry it stands
// among the killed ones, so that this master or the next one removes the library of a submit that ends half way.
void ControlService::store_library(const std::shared_ptr<Submission>& submission) {
  const auto claim = [this, submission] {
    submission->claimed_first = master_.deps().clock.now();
    claim_outputs(submission, 0);
  };
  if (submission->library.empty()) return claim();
  submission->stands_among_killed = true;
  WriteSet set;
  JobStore::put_killed(set, submission->id(), submission->record.spec.name);
  master_.store().commit(std::move(set), lifetime_.guard([this, submission, claim](Status status) {
    if (!status.has_value()) return finish_submission(submission, std::move(status));
    master_.deps().checkpoints.create(submission->record.spec.library, std::move(submission->library),
                                      lifetime_.guard([this, submission, claim](Result<bool> created) {
                                        if (created.has_value()) return claim();
                                        finish_submission(submission, std::unexpected(created.error()));
                                      }));
  }));
}

void ControlService::claim_sink(const std::shared_ptr<Submission>& held) {
  auto claimed = [this, weak = std::weak_ptr(held)](Status status) {
    const auto submission = weak.lock();
    // The answer of a claim that was carried out may be lost, and only the same job id can claim again.
    const bool unclear = !status.has_value() && status.error().code == ErrorCode::kUnavailable;
    const bool in_time = master_.deps().clock.now() - submission->claimed_first < kClaimLimit;
    if (unclear && in_time && ++submission->tries < kClaimTries) {
      master_.deps().loop.schedule(kClaimPause, lifetime_.guard([this, submission] { claim_sink(submission); }));
      return;
    }
    if (status.has_value()) return save_job(submission);
    finish_submission(submission, std::move(status));
    if (unclear) release_sink(submission);
  };
  held->sink->claim(held->sink_identity(), held->record.spec.take_over, lifetime_.guard(std::move(claimed)));
}

void ControlService::release_sink(const std::shared_ptr<Submission>& held) {
  submissions_.insert(held);
  auto released = [this, weak = std::weak_ptr(held)](Status status) {
    const auto submission = weak.lock();
    if (status.has_value() || ++submission->tries >= kReleaseTries) {
      submissions_.erase(submission);
      return;
    }
    master_.deps().loop.schedule(kReleasePause, lifetime_.guard([this, submission] { release_sink(submission); }));
  };
  held->sink->purge(held->sink_identity(), lifetime_.guard(std::move(released)));
}

void ControlService::save_job(const std::shared_ptr<Submission>& submission) {
  WriteSet set;
  JobStore::put_job(set, submission->record);
  JobStore::remove_killed(set, submission->id());
  master_.store().commit(std::move(set), lifetime_.guard([this, submission](Status status) {
    if (!status.has_value()) return take_back(submission, std::move(status));
    submission->stands_among_killed = false;
    status = master_.adopt_job(submission->record, false);
    const bool adopted = status.has_value();
    finish_submission(submission, std::move(status));
    if (!adopted) release_sink(submission);
  }));
}

// A commit that failed may be durable all the same, and the next master would take the job for one of its own.
void ControlService::take_back(const std::shared_ptr<Submission>& submission, Status failed) {
  submission->stands_among_killed = true;
  WriteSet set;
  JobStore::remove_job(set, submission->record.spec.name);
  JobStore::put_killed(set, submission->id(), submission->record.spec.name);
  master_.store().commit(std::move(set),
                         lifetime_.guard([this, submission, failed = std::move(failed)](Status) mutable {
                           finish_submission(submission, std::move(failed));
                           release_sink(submission);
                         }));
}

void ControlService::finish_submission(const std::shared_ptr<Submission>& submission, Status status) {
  const std::string name = submission->record.spec.name;
  busy_.erase(name);
  submissions_.erase(submission);
  if (!status.has_value()) {
    if (submission->stands_among_killed) master_.clear_away(submission->id(), name);
    if (submission->outputs_claimed) release_outputs(submission, 0);
    return submission->done(std::unexpected(status.error()));
  }
  LOG(INFO) << "job " << name << " (" << to_string(job_of(submission->record.job)) << ") is submitted";
  answer_when_settled(name, submission->record.job, master_.deps().clock.now() + kSettleLimit,
                      std::move(submission->done));
}

// What became of it says more than that it is there; but a cluster that takes long is no reason to wait long.
void ControlService::answer_when_settled(const std::string& name, int64_t id, MonotonicTime deadline,
                                         Done<api::JobSummary> done) {
  JobController* job = master_.find_job(name);
  if (job == nullptr || job->record().job != id) {
    return done(fail(ErrorCode::kNotFound, "job '" + name + "' was killed meanwhile"));
  }
  if (job->is_settled() || master_.deps().clock.now() >= deadline) return done(job->summary());
  auto again = [this, name, id, deadline, done = std::move(done)]() mutable {
    answer_when_settled(name, id, deadline, std::move(done));
  };
  master_.deps().loop.schedule(kSettlePause, lifetime_.guard(std::move(again)));
}

}  // namespace millrace
