// submit: starts a job.
#include "client/connection.h"
#include "client/job_library.h"
#include "client/job_options.h"
#include "client/options.h"
#include "client/output.h"
#include "common/model/duration.h"
#include "common/model/start_at.h"

namespace millrace::client {
namespace {

struct SubmitArguments {
  JobOptions job;
  std::string name;
  std::string source;
  std::string through;
  std::string sink;
  std::string checkpoint_interval = "1s";
};

constexpr int32_t kLogPartitions = 4;  // of a log that is made for a receiver

// Of a source that cannot be read twice: its lines go into a log.
Status go_through(const SubmitArguments& arguments, api::SubmitRequest& request) {
  const Uri source = parse_uri(arguments.source).value();
  const bool received = source.scheme == "socket" || source.scheme == "directory";
  if (!received && arguments.through.empty()) return {};
  if (!received) return fail(ErrorCode::kInvalid, "--through goes with --source socket://... or directory://...");
  if (arguments.through.empty()) {
    return fail(ErrorCode::kInvalid, "--through is missing: what " + source.masked() +
                                         " brings is put into a log first, log://NAME or kafka://HOST:PORT/TOPIC");
  }
  request.receiver = arguments.source;
  request.source = arguments.through;
  return {};
}

// The master refuses a name that is taken; asked before, nothing is done for it: no log made, no library run and sent.
Status check_name_is_free(const Session& session, const std::string& name) {
  Connection connection(session);
  const auto job = connection.call<api::JobDescription>(
      [&](auto& services, auto& answer) { services.control.describe(answer, name); });
  if (job) {
    return fail(ErrorCode::kExists, "there is a job '" + name + "' already; kill it first or take another name");
  }
  return job.error().code == ErrorCode::kNotFound ? Status() : std::unexpected(job.error());
}

// The log into which a receiver's lines go is there.
Status make_log(const Session& session, const std::string& uri) {
  const Uri log = parse_uri(uri).value();
  if (log.scheme != "log") return {};
  Connection connection(session);
  const auto opened = connection.call<int32_t>(
      [&](auto& services, int32_t& answer) { answer = services.ingest.open_log(log.authority, kLogPartitions); });
  return opened ? Status() : std::unexpected(opened.error());
}

Status submit(Session& session, const SubmitArguments& arguments) {
  session.invalid_is_usage = true;
  Result<api::SubmitRequest> request = finish_request(arguments.job);
  if (!request) return std::unexpected(request.error());
  request->name = arguments.name;
  request->source = arguments.source;
  request->sink = arguments.sink;
  request->checkpoint_interval_ms = parse_duration_ms(arguments.checkpoint_interval).value();
  if (Status through = go_through(arguments, *request); !through) return through;
  const bool received = !request->receiver.empty();
  if (received || is_library_path(request->type)) {
    if (Status free = check_name_is_free(session, arguments.name); !free) return free;
  }
  if (Status made = received ? make_log(session, request->source) : Status(); !made) return made;
  if (Status added = add_library(*request, arguments.job.library_job); !added) return added;
  Connection connection(session);
  const auto job = connection.call<api::JobSummary>(
      [&](auto& services, auto& answer) { services.control.submit(answer, *request); });
  if (!job) return std::unexpected(job.error());
  print_job(session.output(), *job, "submitted");
  return {};
}

}  // namespace

void add_submit_command(CLI::App& app, Session& session) {
  const auto [command, arguments] = add_command<SubmitArguments>(
      app, session, "submit", "Start a job",
      "  millrace submit word_count --name wc --source log://lines --sink redis://127.0.0.1:6379\n"
      "  millrace submit word_count --name wc --source kafka://127.0.0.1:9092/lines --sink none: \\\n"
      "      --batch-interval 50ms --checkpoint-interval 5s --kafka-config client.properties --set field=text\n"
      "  millrace submit word_count --name typed --source socket://host:9999 --through log://typed --sink none:",
      submit);
  api::SubmitRequest& request = arguments->job.request;
  add_job_type(command, arguments->job);
  command->add_option("--name", arguments->name, "Name of the job")->required()->check([](const std::string& text) {
    return problem_of(check_name("the name", text));
  });
  command
      ->add_option("--source", arguments->source,
                   "kafka://HOST:PORT[,HOST:PORT]/TOPIC[,TOPIC] or log://NAME[,NAME]; with --through also "
                   "socket://HOST:PORT or directory:///PATH")
      ->required()
      ->check(
          uri_check({"kafka", "log", "socket", "directory"},
                    "kafka://HOST:PORT/TOPIC or log://NAME; with --through socket://HOST:PORT or directory:///PATH"));
  command
      ->add_option("--through", arguments->through,
                   "The log into which one of the job's executors puts the lines of a socket or directory: log://NAME, "
                   "which is made if it is not there, or kafka://HOST:PORT[,HOST:PORT]/TOPIC")
      ->check(uri_check({"kafka", "log"}, "kafka://HOST:PORT/TOPIC or log://NAME"));
  command->add_option("--sink", arguments->sink, "redis://[USER[:PASSWORD]@]HOST[:PORT][/DB] or none:")
      ->required()
      ->check(uri_check({"redis", "none"}, "redis://HOST[:PORT][/DB] or none:"));
  add_job_options(command, arguments->job);
  command->add_option("--checkpoint-interval", arguments->checkpoint_interval, "Time between checkpoints")
      ->check(check_duration)
      ->capture_default_str();
  command
      ->add_option("--start", request.start,
                   "Where to begin: earliest, latest, a time in UTC like 2026-11-21T20:30:00Z, or the offset of each "
                   "partition like 0=1500,1=0 (of several topics: orders:0=1500,payments:0=0)")
      ->check([](const std::string& text) {
        const auto start = parse_start(text);
        return start ? "" : start.error().message;
      })
      ->capture_default_str();
}

}  // namespace millrace::client
