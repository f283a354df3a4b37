// explain: what a job is made of. Of a library it asks a process of its own, which is this command with --here.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "client/arguments.h"
#include "client/job_drawing.h"
#include "client/job_library.h"
#include "client/job_options.h"
#include "client/options.h"
#include "client/output.h"
#include "common/model/duration.h"

namespace millrace::client {
namespace {

struct ExplainArguments {
  JobOptions job;
  std::string svg;  // a file's path, "-": standard output; empty: no drawing
  bool here = false;
};

nlohmann::ordered_json json_of(const ExplainedJob& job) {
  auto tables = nlohmann::ordered_json::array();
  for (const auto& table : job.plan.tables) {
    tables.push_back({{"name", table.name},
                      {"form", table.form},
                      {"rank", table.rank},
                      {"rank_all", table.rank_all},
                      {"rank_size", table.rank_size}});
  }
  auto states = nlohmann::ordered_json::array();
  for (const auto& state : job.plan.states)
    states.push_back({{"name", state.name}, {"layout", state.layout}, {"of", state.of}, {"reads", state.reads}});
  auto outputs = nlohmann::ordered_json::array();
  for (const api::OutputPlan& output : job.plan.outputs) {
    outputs.push_back({{"name", output.name}, {"format", output.format}, {"parts", output.parts}});
  }
  auto parts = nlohmann::ordered_json::array();
  for (const JobPart& part : job.shape) {
    parts.push_back({{"kind", name_of(part.kind)},
                     {"name", part.name},
                     {"facts", part.facts},
                     {"stage", part.stage},
                     {"from", part.from}});
  }
  return {{"type", job.type},
          {"description", job.description},
          {"settings", job.settings},
          {"plan",
           {{"tables", tables},
            {"needs_time", job.plan.needs_time},
            {"removes", job.plan.removes},
            {"levels", job.plan.levels},
            {"states", states},
            {"outputs", outputs},
            {"event_delay_ms", job.plan.event_delay_ms},
            {"event_idle_ms", job.plan.event_idle_ms}}},
          {"parts", parts}};
}

// Each part with the numbers of those that it takes values from.
void print_shape(const Output& output, const JobShape& shape, int32_t state_partitions) {
  std::map<int32_t, std::vector<size_t>> stages;
  for (size_t part = 0; part < shape.size(); ++part) stages[shape[part].stage].push_back(part);
  for (const auto& [stage, parts] : stages) {
    output.stream << name_of_stage(stage, state_partitions) << "\n";
    for (const size_t number : parts) {
      const JobPart& part = shape[number];
      std::string line = "  " + std::to_string(number + 1);
      line.resize(std::max<size_t>(line.size() + 1, 6), ' ');
      line += name_of(part.kind);
      line.resize(std::max<size_t>(line.size() + 1, 14), ' ');
      const std::string indent(line.size(), ' ');
      line += output.shown(part.name);
      for (size_t i = 0; i < part.from.size(); ++i)
        line += (i == 0 ? "  <- " : ", ") + std::to_string(part.from[i] + 1);
      output.stream << line << "\n";
      for (const std::string& fact : part.facts) output.stream << indent << output.shown(fact) << "\n";
    }
  }
}

void print(const Output& output, const ExplainedJob& job, int32_t state_partitions) {
  output.stream << job.type << ": " << output.shown(job.description) << "\n";
  for (const auto& [name, value] : job.settings) {
    output.stream << "setting  " << output.shown(name) << "=" << output.shown(value) << "\n";
  }
  if (job.plan.event_delay_ms >= 0) {
    output.stream << "time     that of the records; they may come " << duration_text_ms(job.plan.event_delay_ms)
                  << " late\n";
  }
  output.stream << "batches  " << (job.plan.needs_time ? "at every interval" : "where there are records") << "\n";
  print_shape(output, job.shape, state_partitions);
}

Status draw(Session& session, const std::string& path, const ExplainedJob& job, int32_t state_partitions) {
  const std::string svg = draw_job(job.type + ": " + job.description, job.shape, state_partitions);
  if (path == "-") {
    session.out << svg << std::flush;
    return {};
  }
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << svg << std::flush;
  if (file) return {};
  return fail(ErrorCode::kIo, "--svg: cannot write '" + path + "' (" + std::strerror(errno) + ")");
}

Status explain(Session& session, const ExplainArguments& arguments) {
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
  if (!arguments.svg.empty()) return draw(session, arguments.svg, *explained, job.state_partitions);
  if (session.json) {
    print_json(session.output(), json_of(*explained));
  } else {
    print(session.output(), *explained, job.state_partitions);
  }
  return {};
}

}  // namespace

void add_explain_command(CLI::App& app, Session& session) {
  const auto [command, arguments] =
      add_command<ExplainArguments>(app, session, "explain", "Show what a job is made of",
                                    "  millrace explain word_count --set rank=all\n"
                                    "  millrace explain ./libmy_jobs.so --job long_words\n"
                                    "  millrace explain user_sessions --svg sessions.svg",
                                    explain);
  add_job_type(command, arguments->job);
  add_job_options(command, arguments->job);
  command->add_option("--svg", arguments->svg, "Draw it into this file in place of the text; -: to standard output")
      ->type_name("FILE");
  command->add_flag("--here", arguments->here)->group("");
}

}  // namespace millrace::client
