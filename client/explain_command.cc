// explain: what a job is made of. Of a library it asks a process of its own, which is this command with --here.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "client/arguments.h"
#include "client/job_library.h"
#include "client/job_options.h"
#include "client/options.h"
#include "client/output.h"

namespace millrace::client {
namespace {

struct Arguments {
  JobOptions job;
  bool here = false;
};

nlohmann::ordered_json json_of(const ExplainedJob& job) {
  auto states = nlohmann::ordered_json::array();
  for (const auto& state : job.plan.states)
    states.push_back({{"name", state.name}, {"layout", state.layout}, {"of", state.of}});
  auto outputs = nlohmann::ordered_json::array();
  for (const api::OutputPlan& output : job.plan.outputs) {
    outputs.push_back({{"name", output.name}, {"format", output.format}, {"parts", output.parts}});
  }
  return {{"type", job.type},
          {"description", job.description},
          {"settings", job.settings},
          {"plan",
           {{"values", job.plan.values},
            {"rank", job.plan.rank},
            {"rank_all", job.plan.rank_all},
            {"rank_size", job.plan.rank_size},
            {"needs_time", job.plan.needs_time},
            {"removes", job.plan.removes},
            {"levels", job.plan.levels},
            {"states", states},
            {"outputs", outputs},
            {"event_delay_ms", job.plan.event_delay_ms},
            {"event_idle_ms", job.plan.event_idle_ms}}}};
}

void print(const Output& output, const ExplainedJob& job) {
  output.stream << job.type << ": " << output.shown(job.description) << "\n";
  for (const auto& [name, value] : job.settings) {
    output.stream << "setting  " << output.shown(name) << "=" << output.shown(value) << "\n";
  }
  const bool publishes =
      std::ranges::find(job.plan.outputs, job.plan.values, &api::OutputPlan::name) == job.plan.outputs.end();
  if (publishes) {
    output.stream << "table    " << job.plan.values << (job.plan.removes ? ", keys may go" : "") << "\n";
  }
  if (!job.plan.rank.empty()) {
    output.stream << "rank     " << job.plan.rank << ", the highest " << job.plan.rank_size
                  << (job.plan.rank_all ? "; the sink's holds every key" : "") << "\n";
  }
  for (const auto& state : job.plan.states) {
    output.stream << "state    " << output.shown(state.name) << ": " << output.shown(state.layout);
    for (size_t i = 0; i < state.of.size(); ++i) {
      output.stream << (i == 0 ? ", of the changes of " : ", ") << output.shown(state.of[i]);
    }
    output.stream << "\n";
  }
  for (const api::OutputPlan& appended : job.plan.outputs) {
    output.stream << "output   " << appended.name << ", "
                  << (appended.format.empty() ? "given to the job's own code" : "lines of " + appended.format);
    if (appended.parts > 1) output.stream << ", in " << appended.parts << " parts";
    output.stream << "\n";
  }
  if (job.plan.levels > 1) output.stream << "levels   " << job.plan.levels << " shuffles, one behind the other\n";
  if (job.plan.event_delay_ms >= 0) {
    output.stream << "time     that of the records; they may come " << job.plan.event_delay_ms << " ms late\n";
  }
  output.stream << "batches  " << (job.plan.needs_time ? "at every interval" : "where there are records") << "\n";
}

Status explain(Session& session, const Arguments& arguments) {
  session.invalid_is_usage = true;
  const auto request = finish_request(arguments.job);
  if (!request) return std::unexpected(request.error());
  JobToExplain job{.type = request->type,
                   .library = "",
                   .settings = request->settings,
                   .batch_interval_ms = request->batch_interval_ms,
                   .max_record_bytes = request->max_record_bytes,
                   .state_partitions = request->state_partitions};
  if (is_library_path(job.type)) job.library = std::exchange(job.type, arguments.job.library_job);
  if (!job.library.empty()) {
    auto bytes = read_library(arguments.here ? "/dev/stdin" : job.library);
    if (!bytes) return std::unexpected(bytes.error());
    job.bytes = std::move(*bytes);
  }
  const auto explained = job.library.empty() || arguments.here ? session.explain(job) : explain_library(job);
  if (!explained) return std::unexpected(explained.error());
  if (session.json) {
    print_json(session.output(), json_of(*explained));
  } else {
    print(session.output(), *explained);
  }
  return {};
}

}  // namespace

void add_explain_command(CLI::App& app, Session& session) {
  const auto [command, arguments] = add_command<Arguments>(app, session, "explain", "Show what a job is made of",
                                                           "  millrace explain word_count --set rank=all\n"
                                                           "  millrace explain ./libmy_jobs.so --job long_words",
                                                           explain);
  add_job_type(command, arguments->job);
  add_job_options(command, arguments->job);
  command->add_flag("--here", arguments->here)->group("");
}

}  // namespace millrace::client
