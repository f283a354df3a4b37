// upgrade: other code, or other settings, for a job that is there.
#include <nlohmann/json.hpp>

#include "client/connection.h"
#include "client/job_library.h"
#include "client/options.h"
#include "client/output.h"

namespace millrace::client {
namespace {

struct UpgradeArguments {
  std::string name;
  std::string type;
  std::string library_job;
  std::vector<std::string> settings;
  std::vector<std::string> unset;
  std::vector<std::string> drop;
  bool plan = false;
};

// The settings that the job has now, but for what is said of them.
Result<std::map<std::string, std::string>> new_settings(const UpgradeArguments& arguments,
                                                        const api::JobDescription& description) {
  auto given = parse_settings("--set", arguments.settings);
  if (!given) return given;
  std::map<std::string, std::string> settings = description.settings;
  for (const std::string& key : arguments.unset) {
    if (settings.erase(key) != 0) continue;
    return fail(ErrorCode::kInvalid, "--unset: job '" + arguments.name + "' has no setting '" + key + "'");
  }
  for (auto& [key, value] : *given) settings[key] = std::move(value);
  return settings;
}

Result<api::UpgradeRequest> make_request(const UpgradeArguments& arguments, const api::JobDescription& description) {
  auto settings = new_settings(arguments, description);
  if (!settings) return std::unexpected(settings.error());
  // What a library has to be asked is the same as for a submit.
  api::SubmitRequest asked;
  asked.type = arguments.type;
  asked.settings = std::move(*settings);
  asked.batch_interval_ms = description.batch_interval_ms;
  asked.state_partitions = description.state_partitions;
  std::string job = arguments.library_job;
  if (job.empty() && is_library_path(arguments.type)) job = description.summary.type;
  if (Status added = add_library(asked, job); !added) return std::unexpected(added.error());
  api::UpgradeRequest request;
  request.name = arguments.name;
  request.type = std::move(asked.type);
  request.settings = std::move(asked.settings);
  request.library = std::move(asked.library);
  request.plan = std::move(asked.plan);
  request.from_version = description.version;
  request.drop = arguments.drop;
  return request;
}

nlohmann::ordered_json json_of(const api::UpgradePlan& plan) {
  auto states = nlohmann::ordered_json::array();
  for (const api::StateChange& state : plan.states) {
    nlohmann::ordered_json said = {{"name", state.name}, {"fate", state.fate}, {"layout", state.layout}};
    if (!state.former_layout.empty()) said["former_layout"] = state.former_layout;
    if (!state.note.empty()) said["note"] = state.note;
    states.push_back(std::move(said));
  }
  nlohmann::ordered_json object = {{"version", plan.version}, {"states", states}};
  if (!plan.problem.empty()) object["problem"] = plan.problem;
  return object;
}

void print_plan(const Output& output, const UpgradeArguments& arguments, const api::UpgradePlan& plan) {
  const bool acts = !arguments.plan && plan.problem.empty();
  output.stream << "job " << arguments.name << (acts ? " becomes" : " would become") << " version " << plan.version
                << "\n";
  for (const api::StateChange& state : plan.states) {
    std::string fate = state.fate;
    fate.resize(std::max<size_t>(fate.size(), 8), ' ');
    output.stream << "  " << fate << " " << output.shown(state.name) << ": " << output.shown(state.layout)
                  << (state.former_layout.empty() ? "" : ", from " + output.shown(state.former_layout))
                  << (state.note.empty() ? "" : "; " + output.shown(state.note)) << "\n";
  }
  output.stream.flush();  // before anything stops
}

// A job that was stopped for nothing; or, where the answer was lost or somebody else was faster, one that runs already.
Error go_on(Connection& connection, const std::string& name, const Error& why) {
  const auto job =
      connection.call<api::JobSummary>([&](auto& services, auto& answer) { services.control.resume(answer, name); });
  const std::string became = job ? "it goes on as it was"
                                 : "it was not resumed (" + job.error().message + "); if `millrace describe " + name +
                                       "` shows it stopped, let it go on by `millrace resume " + name + "`";
  return {why.code, why.message + "; " + became};
}

// With a last checkpoint: by which code a record is counted is not left to chance.
Status stop_in_order(Connection& connection, const std::string& name) {
  const auto job =
      connection.call<api::JobSummary>([&](auto& services, auto& answer) { services.control.stop(answer, name); });
  if (!job) return std::unexpected(job.error());
  if (job->problem.empty()) return {};
  const std::string remedy = "; to upgrade it all the same from its newest checkpoint, stop it first";
  return std::unexpected(go_on(connection, name, {ErrorCode::kUnavailable, job->problem + remedy}));
}

Status upgrade(Session& session, const UpgradeArguments& arguments) {
  session.invalid_is_usage = true;
  Connection connection(session);
  const auto description = connection.call<api::JobDescription>(
      [&](auto& services, auto& answer) { services.control.describe(answer, arguments.name); });
  if (!description) return std::unexpected(description.error());
  const auto request = make_request(arguments, *description);
  if (!request) return std::unexpected(request.error());
  const auto plan = connection.call<api::UpgradePlan>(
      [&](auto& services, auto& answer) { services.control.plan_upgrade(answer, *request); });
  if (!plan) return std::unexpected(plan.error());
  const Output output = session.output();
  nlohmann::ordered_json object = json_of(*plan);
  if (!output.json) print_plan(output, arguments, *plan);
  if (arguments.plan && output.json) print_json(output, object);
  if (!plan->problem.empty()) return fail(ErrorCode::kInvalid, plan->problem);
  if (arguments.plan) return {};
  const std::string& state = description->summary.state;
  const bool ran = state != "stopped" && state != "failed";
  if (Status stopped = ran ? stop_in_order(connection, arguments.name) : Status(); !stopped) return stopped;
  const auto job = connection.call<api::JobSummary>(
      [&](auto& services, auto& answer) { services.control.upgrade(answer, *request); });
  if (!job) return std::unexpected(ran ? go_on(connection, arguments.name, job.error()) : job.error());
  if (output.json) {
    object["job"] = client::json_of(*job);
    print_json(output, object);
  } else {
    print_job(output, *job, "upgraded");
  }
  return {};
}

}  // namespace

void add_upgrade_command(CLI::App& app, Session& session) {
  const auto [command, arguments] = add_command<UpgradeArguments>(
      app, session, "upgrade", "Let a job go on by other code or with other settings, from a last checkpoint",
      "  millrace upgrade mine ./libmy_jobs.so --plan\n"
      "  millrace upgrade mine ./libmy_jobs.so --set least=7\n"
      "  millrace upgrade wc word_count --set words=unicode\n"
      "  millrace upgrade mine ./libmy_jobs.so --drop lengths\n"
      "The way back: millrace stop mine; millrace checkpoints mine; millrace resume mine --from BATCH",
      upgrade);
  add_job_name(command, arguments->name);
  command
      ->add_option("TYPE", arguments->type, "Type of job as for `submit`, or a shared library with jobs, ./libNAME.so")
      ->required();
  command->add_option("--job", arguments->library_job,
                      "Which of the library's jobs; otherwise the one of the type that the job has");
  command
      ->add_option("--set", arguments->settings,
                   "A setting, KEY=VALUE; repeatable. Those that the job has stay, unless they are set or unset")
      ->allow_extra_args(false)
      ->check([](const std::string& text) {
        const auto parsed = parse_settings("the setting", {text});
        return parsed ? "" : parsed.error().message;
      });
  command->add_option("--unset", arguments->unset, "A setting that the job has and no longer shall, KEY; repeatable")
      ->allow_extra_args(false);
  command
      ->add_option("--drop", arguments->drop,
                   "A state that the new code keeps no more, and whose contents may be lost; repeatable")
      ->allow_extra_args(false);
  command->add_flag("--plan", arguments->plan, "Only print what becomes of what the job keeps");
}

}  // namespace millrace::client
