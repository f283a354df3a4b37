// Small additions to CLI11 that the commands share.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <utility>

#include "client/arguments.h"
#include "client/session.h"
#include "common/model/uri.h"

namespace millrace::client {

inline std::string problem_of(const Status& status) {
  return status ? "" : status.error().message;
}

inline CLI::Option* add_job_name(CLI::App* command, std::string& name) {
  return command->add_option("NAME", name, "Name of the job")->required()->check([](const std::string& text) {
    return problem_of(check_name("the name", text));
  });
}

inline std::string check_duration(const std::string& text) {
  const auto parsed = parse_duration_ms(text);
  return parsed ? "" : parsed.error().message;
}

inline std::string check_wait(const std::string& text) {
  const auto parsed = parse_wait_ms(text);
  return parsed ? "" : parsed.error().message;
}

// A sub-command with arguments of type Arguments and `run(session, arguments)`; the caller adds the options.
template <typename Arguments, typename Run>
std::pair<CLI::App*, Arguments*> add_command(CLI::App& app, Session& session, const std::string& name,
                                             const std::string& description, const std::string& examples, Run run) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand(name, description);
  command->footer("Examples:\n" + examples);
  command->callback([&session, arguments, run] {
    session.command = [arguments, run](Session& running) { return run(running, *arguments); };
  });
  return {command, arguments.get()};
}

}  // namespace millrace::client
