#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstring>

#include "client/options.h"
#include "client/session.h"
#include "common/base/text.h"

namespace millrace::client {
namespace {

constexpr char kDefaultMaster[] = "127.0.0.1:7071";

constexpr char kExamples[] =
    "Examples:\n"
    "  millrace run word_count < book.txt\n"
    "  millrace append log://lines < book.txt\n"
    "  millrace submit word_count --name wc --source log://lines --sink redis://127.0.0.1:6379\n"
    "  millrace top wc -n 5\n"
    "  millrace get wc the\n"
    "`millrace COMMAND --help` shows the options and examples of a command.\n"
    "Exit codes: 0 done, 1 failed, 2 wrong usage.";

std::string command_in(const CLI::App& app) {
  const auto chosen = app.get_subcommands();
  return chosen.empty() ? "millrace" : "millrace " + chosen.front()->get_name();
}

std::string one_line(std::string text) {
  while (!text.empty() && text.back() == '\n') text.pop_back();
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

}  // namespace

int run_client(const std::vector<std::string>& arguments, Session& session) {
  CLI::App app("Talks to a Millrace master: jobs, queries, and appending to logs. `run` needs none.", "millrace");
  app.footer(kExamples);
  app.set_version_flag("--version", std::string("millrace ") + MILLRACE_VERSION);
  app.fallthrough();
  app.require_subcommand(1);
  std::string master = kDefaultMaster;
  app.add_option("--api", master, "The master's public port, HOST:PORT")
      ->envname("MILLRACE_API")
      ->capture_default_str()
      ->check([](const std::string& text) {
        const auto address = parse_address("the value", text);
        return address ? "" : address.error().message;
      });
  std::string wait = "10s";
  app.add_option("--wait", wait, "How long to wait for a master that does not listen yet; 0s: not at all")
      ->capture_default_str()
      ->check(check_wait);
  app.add_flag("--json", session.json, "Print one JSON object instead of text");
  add_submit_command(app, session);
  add_job_commands(app, session);
  add_query_commands(app, session);
  add_watch_command(app, session);
  add_changes_command(app, session);
  add_append_command(app, session);
  add_explain_command(app, session);
  add_upgrade_command(app, session);
  add_run_command(app, session);
  add_simulate_command(app, session);
  try {
    app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
  } catch (const CLI::Success& told) {  // --help or --version
    return app.exit(told, session.out, session.err) == 0 ? 0 : 2;
  } catch (const CLI::Error& error) {
    const auto unknown = app.remaining();
    if (app.get_subcommands().empty() && !unknown.empty()) {
      session.err << "millrace: there is no command '" << printable(unknown.front()) << "'; see `millrace --help`\n";
      return 2;
    }
    session.err << "millrace: " << printable(one_line(error.what())) << "; see `" << command_in(app) << " --help`\n";
    return 2;
  }
  session.master = parse_address("--api", master).value();
  session.wait = std::chrono::milliseconds(parse_wait_ms(wait).value());
  const Status done = session.command(session);
  errno = 0;
  session.out.flush();
  if (!done) {
    session.err << "millrace: " << printable(done.error().message) << "\n";
    return session.invalid_is_usage && done.error().code == ErrorCode::kInvalid ? 2 : 1;
  }
  if (session.out) return 0;
  session.err << "millrace: cannot write the output" << (errno == 0 ? "" : std::string(": ") + std::strerror(errno))
              << "\n";
  return 1;
}

}  // namespace millrace::client
