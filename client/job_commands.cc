// jobs, describe, stop, resume, kill, checkpoints, workers, lag: the Control service.
#include <algorithm>
#include <chrono>
#include <map>
#include <nlohmann/json.hpp>
#include <thread>
#include <utility>

#include "client/batch_table.h"
#include "client/connection.h"
#include "client/options.h"
#include "client/output.h"
#include "common/model/duration.h"

namespace millrace::client {
namespace {

constexpr auto kAskAgainAfter = std::chrono::milliseconds(50);
constexpr int32_t kUsualBatches = 20;
constexpr int32_t kMostBatches = 600;  // that a master keeps

struct None {};

struct JobsArguments {
  bool available = false;
};

struct JobName {
  std::string name;
  bool purge = false;
  int64_t from = 0;        // a checkpoint's batch; 0: where it was
  std::string until_zero;  // a duration; empty: do not wait
  int32_t batches = -1;    // to be shown; negative: not asked for, 0: as many as is usual
};

std::string number(int64_t value) {
  return std::to_string(value);
}

Status job_types(Session& session) {
  Connection connection(session);
  const auto list = connection.call<std::vector<api::JobType>>(
      [](auto& services, auto& answer) { services.control.job_types(answer); });
  if (!list) return std::unexpected(list.error());
  const Output output = session.output();
  if (output.json) {
    nlohmann::ordered_json object = {{"types", nlohmann::ordered_json::array()}};
    for (const auto& type : *list) object["types"].push_back(json_of(type));
    print_json(output, object);
    return {};
  }
  print_job_types(output, *list);
  return {};
}

Status jobs(Session& session, const JobsArguments& arguments) {
  if (arguments.available) return job_types(session);
  Connection connection(session);
  const auto list = connection.call<std::vector<api::JobSummary>>(
      [](auto& services, auto& answer) { services.control.jobs(answer); });
  if (!list) return std::unexpected(list.error());
  const Output output = session.output();
  if (output.json) {
    nlohmann::ordered_json object = {{"jobs", nlohmann::ordered_json::array()}};
    for (const auto& job : *list) object["jobs"].push_back(json_of(job));
    print_json(output, object);
    return {};
  }
  Table table({"NAME", "TYPE", "STATE", "BATCH", "PUBLISHED", "RECORDS", "EMITTED", "DEAD", "LAG", "PROBLEM"});
  for (const auto& job : *list) {
    table.add({job.name, job.type, job.state, number(job.applied.batch), number(job.published), number(job.records),
               number(job.emitted), number(job.dead_letters), number(job.lag_records), output.shown(job.problem)});
  }
  table.print(output);
  return {};
}

void print_field(const Output& output, const std::string& name, const std::string& value) {
  std::string line = name + ":";
  line.resize(std::max<size_t>(line.size() + 1, 22), ' ');
  output.stream << line << value << "\n";
}

void print_summary(const Output& output, const api::JobDescription& description) {
  const api::JobSummary& job = description.summary;
  print_field(output, "name", job.name);
  print_field(output, "type", job.type);
  print_field(output, "state", job.state);
  if (!job.problem.empty()) print_field(output, "problem", output.shown(job.problem));
  print_field(output, "job id", job.applied.job_id);
  print_field(output, "incarnation", number(job.applied.incarnation));
  print_field(output, "version", number(description.version));
  print_field(output, "epoch", number(job.applied.epoch));
  if (!description.receiver.empty()) print_field(output, "receiver", output.shown(description.receiver));
  for (const auto& [name, place] : description.outputs) {
    print_field(output, "output", output.shown(name) + " to " + output.shown(place));
  }
  print_field(output, "source", output.shown(description.source));
  print_field(output, "sink", output.shown(description.sink));
  if (description.tables.size() > 1) {
    for (const auto& table : description.tables) {
      print_field(output, "table", table.name + (table.rank.empty() ? "" : ", with the rank " + table.rank));
    }
  }
  print_field(output, "batch interval", duration_text_ms(description.batch_interval_ms));
  print_field(output, "checkpoint interval", duration_text_ms(description.checkpoint_interval_ms));
  print_field(output, "state partitions", number(description.state_partitions));
  for (const auto& [key, value] : description.settings) {
    print_field(output, "setting", output.shown(key) + "=" + output.shown(value));
  }
  print_field(output, "batch applied", number(job.applied.batch));
  print_field(output, "batch published", number(job.published));
  print_field(output, "checkpoint",
              description.checkpoint_batch == 0 ? "none" : "of batch " + number(description.checkpoint_batch));
  print_field(output, "records", number(job.records));
  print_field(output, "emitted", number(job.emitted));
  print_field(output, "dead letters", number(job.dead_letters));
  if (!description.watermark_held_by.empty()) {
    print_field(output, "late records", number(job.late));
    print_field(output, "watermark", time_text(job.watermark_ms) + ", held by " + description.watermark_held_by);
  }
  print_field(output, "lag", counted(job.lag_records, "records"));
  print_field(output, "recovering", counted(description.recovering_partitions, "state partitions"));
}

Status describe_batches(Session& session, const JobName& arguments) {
  const int32_t n = arguments.batches == 0 ? kUsualBatches : arguments.batches;
  const int32_t asked = session.json ? n : std::min(n + 1, kMostBatches);
  Connection connection(session);
  const auto found = connection.call<api::BatchProfiles>(
      [&](auto& services, auto& answer) { services.control.batches(answer, arguments.name, asked, 0); });
  if (!found) return std::unexpected(found.error());
  const Output output = session.output();
  if (output.json) {
    print_json(output, json_of(*found));
  } else {
    print_batches(output, *found, static_cast<size_t>(n));
  }
  return {};
}

Status describe(Session& session, const JobName& arguments) {
  if (arguments.batches >= 0) return describe_batches(session, arguments);
  Connection connection(session);
  const auto found = connection.call<api::JobDescription>(
      [&](auto& services, auto& answer) { services.control.describe(answer, arguments.name); });
  if (!found) return std::unexpected(found.error());
  const Output output = session.output();
  if (output.json) {
    print_json(output, json_of(*found));
    return {};
  }
  print_summary(output, *found);
  output.stream << "\nexecutors:\n";
  Table executors({"PROCESS", "WORKER", "STATE PARTS", "LOG PARTS", "BATCH", "KEYS", "MEMORY"});
  for (const auto& executor : found->executors) {
    executors.add({executor.process, output.shown(executor.worker), number(executor.state_partitions),
                   number(executor.log_partitions), number(executor.applied), number(executor.keys),
                   bytes_text(executor.memory_bytes)});
  }
  executors.print(output, "  ");
  output.stream << "\nrecent batches, times since the cut:\n";
  Table recent({"BATCH", "RECORDS", "DURABLE", "MAPPED", "APPLIED", "PUBLISHED"});
  const auto time = [](int64_t us) { return us == 0 ? "-" : microseconds(us); };
  for (const auto& batch : found->recent) {
    recent.add({number(batch.batch), number(batch.records), time(batch.durable_us), time(batch.mapped_us),
                time(batch.applied_us), time(batch.published_us)});
  }
  recent.print(output, "  ");
  return {};
}

Status stop(Session& session, const JobName& arguments) {
  Connection connection(session);
  const auto job = connection.call<api::JobSummary>(
      [&](auto& services, auto& answer) { services.control.stop(answer, arguments.name); });
  if (!job) return std::unexpected(job.error());
  if (job->problem.empty() || session.json) print_job(session.output(), *job, "stopped");
  if (job->problem.empty()) return {};
  return fail(ErrorCode::kIo, "job '" + arguments.name + "': " + job->problem);
}

Status resume(Session& session, const JobName& arguments) {
  Connection connection(session);
  const auto job = connection.call<api::JobSummary>([&](auto& services, auto& answer) {
    if (arguments.from == 0) return services.control.resume(answer, arguments.name);
    services.control.resume_from(answer, arguments.name, arguments.from);
  });
  if (!job) return std::unexpected(job.error());
  print_job(session.output(), *job, "resumed");
  return {};
}

std::string what_became_of_keys(const std::string& sink, bool purged) {
  if (sink.starts_with("none:")) return "";
  if (purged) return "; its keys in the sink are removed";
  return "; its keys in the sink are left, and a job of that name needs --take-over";
}

Status kill(Session& session, const JobName& arguments) {
  Connection connection(session);
  const auto job = connection.call<api::JobDescription>(
      [&](auto& services, auto& answer) { services.control.describe(answer, arguments.name); });
  if (!job) {
    if (job.error().code != ErrorCode::kNotFound || !arguments.purge) return std::unexpected(job.error());
    return fail(ErrorCode::kNotFound,
                job.error().message +
                    "; keys that it left go when you submit it again with --take-over and kill that "
                    "with --purge");
  }
  const auto killed =
      connection.call<bool>([&](auto& services, bool&) { services.control.kill(arguments.name, arguments.purge); });
  if (!killed) return std::unexpected(killed.error());
  const Output output = session.output();
  if (output.json) {
    print_json(output, {{"name", arguments.name}, {"state", "killed"}, {"purged", arguments.purge}});
  } else {
    output.stream << "job " << arguments.name << " killed" << what_became_of_keys(job->sink, arguments.purge) << "\n";
  }
  return {};
}

Status checkpoints(Session& session, const JobName& arguments) {
  Connection connection(session);
  const auto list = connection.call<std::vector<api::Checkpoint>>(
      [&](auto& services, auto& answer) { services.control.checkpoints(answer, arguments.name); });
  if (!list) return std::unexpected(list.error());
  const Output output = session.output();
  if (output.json) {
    nlohmann::ordered_json object = {{"checkpoints", nlohmann::ordered_json::array()}};
    for (const auto& checkpoint : *list) object["checkpoints"].push_back(json_of(checkpoint));
    print_json(output, object);
    return {};
  }
  Table table({"BATCH", "TIME", "INCARNATION", "VERSION", "FILES", "SIZE"});
  for (const auto& checkpoint : *list) {
    table.add({number(checkpoint.batch), time_text(checkpoint.time_ms), number(checkpoint.incarnation),
               number(checkpoint.version), number(checkpoint.files), bytes_text(checkpoint.size_bytes)});
  }
  table.print(output);
  return {};
}

Status workers(Session& session, const None&) {
  Connection connection(session);
  const auto list = connection.call<std::vector<api::WorkerSummary>>(
      [](auto& services, auto& answer) { services.control.workers(answer); });
  if (!list) return std::unexpected(list.error());
  const Output output = session.output();
  if (output.json) {
    nlohmann::ordered_json object = {{"workers", nlohmann::ordered_json::array()}};
    for (const auto& worker : *list) object["workers"].push_back(json_of(worker));
    print_json(output, object);
    return {};
  }
  Table table({"PROCESS", "NAME", "ENDPOINT", "LANES", "STATE", "HTTP", "JOBS", "PROBLEM"});
  for (const auto& worker : *list) {
    std::string names;
    for (const auto& job : worker.jobs) names += (names.empty() ? "" : ",") + job;
    table.add({worker.process, output.shown(worker.name), worker.endpoint, number(worker.lanes), worker.state,
               worker.http.empty() ? "-" : worker.http, names.empty() ? "-" : names, output.shown(worker.problem)});
  }
  table.print(output);
  return {};
}

void print_lag(const Output& output, const api::Lag& lag) {
  if (output.json) return print_json(output, json_of(lag));
  const bool several =
      std::ranges::any_of(lag.partitions, [&](const auto& each) { return each.topic != lag.partitions.front().topic; });
  Table table(several ? std::vector<std::string>{"TOPIC", "PARTITION", "APPLIED", "END", "LAG"}
                      : std::vector<std::string>{"PARTITION", "APPLIED", "END", "LAG"});
  int64_t total = 0;
  for (const auto& partition : lag.partitions) {
    const int64_t behind = std::max<int64_t>(0, partition.end_offset - partition.applied_offset);
    total += behind;
    std::vector<std::string> row = {number(partition.partition), number(partition.applied_offset),
                                    number(partition.end_offset), number(behind)};
    if (several) row.insert(row.begin(), output.shown(partition.topic));
    table.add(std::move(row));
  }
  table.print(output);
  output.stream << counted(total, "records") << " behind at batch " << lag.as_of.batch << "\n";
}

// The lag, once everything that was in the log at the first answer is applied and published.
Result<api::Lag> wait_for_zero(Connection& connection, const JobName& arguments) {
  const auto limit = std::chrono::milliseconds(parse_duration_ms(arguments.until_zero).value());
  const auto begin = std::chrono::steady_clock::now();
  std::map<std::pair<std::string, int32_t>, int64_t> ends;
  while (true) {
    auto found =
        connection.call<api::Lag>([&](auto& services, auto& answer) { services.control.lag(answer, arguments.name); });
    const auto job = connection.call<api::JobDescription>(
        [&](auto& services, auto& answer) { services.control.describe(answer, arguments.name); });
    if (!found) return found;
    if (!job) return std::unexpected(job.error());
    if (ends.empty() && found->problem.empty()) {
      for (const api::PartitionLag& partition : found->partitions) {
        ends[{partition.topic, partition.partition}] = partition.end_offset;
      }
    }
    int64_t behind = 0;
    for (const api::PartitionLag& partition : found->partitions) {
      behind += std::max<int64_t>(0, ends[{partition.topic, partition.partition}] - partition.applied_offset);
    }
    // A job that goes by time has a batch at each of its intervals, and does not publish those that change nothing.
    const bool published = job->summary.published >= std::min(job->summary.changed, found->as_of.batch);
    if (!ends.empty() && behind == 0 && published) return found;
    if (std::chrono::steady_clock::now() - begin > limit) {
      const std::string cause = job->summary.problem.empty() ? "" : ": " + job->summary.problem;
      return fail(ErrorCode::kTimeout, "job '" + arguments.name + "' is still " + counted(behind, "records") +
                                           " behind, or has not published, after " + arguments.until_zero + cause);
    }
    std::this_thread::sleep_for(kAskAgainAfter);
  }
}

Status lag(Session& session, const JobName& arguments) {
  Connection connection(session);
  const auto found = arguments.until_zero.empty() ? connection.call<api::Lag>([&](auto& services, auto& answer) {
    services.control.lag(answer, arguments.name);
  })
                                                  : wait_for_zero(connection, arguments);
  if (!found) return std::unexpected(found.error());
  print_lag(session.output(), *found);
  if (found->problem.empty()) return {};
  return fail(ErrorCode::kUnavailable, "these ends of the log are only the last known: " + found->problem);
}

}  // namespace

void add_job_commands(CLI::App& app, Session& session) {
  const auto [jobs_command, jobs_arguments] =
      add_command<JobsArguments>(app, session, "jobs", "List the jobs, or with --available those that can be submitted",
                                 "  millrace jobs\n  millrace --json jobs\n  millrace jobs --available", jobs);
  jobs_command->add_flag("--available", jobs_arguments->available,
                         "The types of jobs that the master knows, and their settings");
  const auto add_named = [&](const std::string& name, const std::string& description, auto run) {
    const auto [command, arguments] =
        add_command<JobName>(app, session, name, description, "  millrace " + name + " wc", run);
    add_job_name(command, arguments->name);
    return std::pair(command, arguments);
  };
  const auto [describe_command, describe_arguments] = add_named("describe", "Show everything about a job", describe);
  describe_command
      ->add_option("--batches", describe_arguments->batches,
                   "Show instead where the time of its newest batches went, step by step: of so many, or of 20")
      ->expected(0, 1)
      ->check(CLI::Range(1, kMostBatches));
  describe_command->footer(
      "Examples:\n  millrace describe wc\n  millrace describe wc --batches\n"
      "  millrace describe wc --batches 600 --json");
  add_named("stop", "Take a last checkpoint and stop a job; `resume` goes on from there", stop);
  const auto [resume_command, resume_arguments] = add_named("resume", "Let a stopped or failed job go on", resume);
  resume_command
      ->add_option("--from", resume_arguments->from,
                   "Go back to the checkpoint of this batch, see `millrace checkpoints`; newer ones are given up")
      ->check(CLI::PositiveNumber);
  resume_command->footer("Examples:\n  millrace resume wc\n  millrace resume wc --from 1234");
  const auto [command, arguments] = add_named("kill", "End a job and forget it and its checkpoints", kill);
  command->add_flag("--purge", arguments->purge, "Remove its keys in the sink, too");
  command->footer("Examples:\n  millrace kill wc\n  millrace kill wc --purge");
  add_named("checkpoints", "List the checkpoints of a job that are kept, the oldest first", checkpoints);
  add_command<None>(app, session, "workers", "List the workers", "  millrace workers", workers);
  const auto [lag_command, lag_arguments] = add_named("lag", "Show how far a job is behind the end of its log", lag);
  lag_command
      ->add_option("--until-zero", lag_arguments->until_zero,
                   "Wait, for at most this long, until what is in the log now is applied and published")
      ->check(check_duration);
  lag_command->footer("Examples:\n  millrace lag wc\n  millrace lag wc --until-zero 30s");
}

}  // namespace millrace::client
