// watch: the words with the highest counts, again after each batch.
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>
#include <utility>

#include "client/connection.h"
#include "client/options.h"
#include "client/output.h"
#include "client/screen.h"
#include "common/base/text.h"

namespace millrace::client {
namespace {

struct WatchArguments {
  std::string name;
  int32_t n = 10;
  std::string table;
  int64_t updates = 0;
};

constexpr auto kConnectAgainAfter = std::chrono::milliseconds(300);
constexpr auto kShortestBetweenUpdates = std::chrono::milliseconds(50);

std::vector<std::string> lines_of(const Output& output, const api::Values& values) {
  std::vector<std::string> lines = {"batch " + std::to_string(values.as_of.batch)};
  for (const api::Value& value : values.values)
    lines.push_back(output.shown(value.key) + "\t" + output.shown(value.text));
  return lines;
}

// What has been shown; decides what is asked next and whether an answer is news.
class View {
 public:
  [[nodiscard]] int64_t at_least() const { return shown_.job_id.empty() ? 0 : shown_.batch + 1; }

  // A job of the same name that was submitted anew, or a later incarnation, begins with batches of its own.
  void begin_anew_if_changed(const api::AsOf& current) {
    if (current.job_id.empty()) return;  // not known yet
    if (current.job_id != shown_.job_id || current.incarnation > shown_.incarnation) shown_ = api::AsOf();
  }

  bool take(const api::AsOf& as_of) {
    const bool same_life = as_of.job_id == shown_.job_id;
    if (same_life && std::pair(as_of.incarnation, as_of.batch) <= std::pair(shown_.incarnation, shown_.batch)) {
      return false;
    }
    shown_ = as_of;
    return true;
  }

 private:
  api::AsOf shown_;
};

Status watch(Session& session, const WatchArguments& arguments) {
  end_at_interrupt();
  const Output output = session.output();
  Screen screen(output);
  std::optional<WindowFollower> follower;
  if (output.terminal && !output.json) follower.emplace(screen);
  View view;
  Connection connection(session);
  bool reached = false;
  std::string told;  // why there is nothing to show just now
  int64_t updates = 0;
  while (true) {
    const auto values = connection.call<api::Values>([&](auto& services, auto& answer) {
      services.query.top(answer, arguments.name, arguments.n, view.at_least(), arguments.table);
    });
    if (values) {
      reached = true;
      told.clear();
      if (view.take(values->as_of)) {
        if (output.json) {
          print_json(output, json_of(*values, false));
          output.stream.flush();
        } else {
          screen.draw(lines_of(output, *values));
        }
        if (++updates == arguments.updates) return {};
      }
      if (!output.stream) return fail(ErrorCode::kIo, "the output cannot be written");
      std::this_thread::sleep_for(kShortestBetweenUpdates);
      continue;
    }
    const ErrorCode code = values.error().code;
    const bool passes = code == ErrorCode::kUnavailable || code == ErrorCode::kTimeout;
    if (!passes || (!reached && !connection.connected())) return std::unexpected(values.error());
    reached = true;
    if (code == ErrorCode::kUnavailable && told != values.error().message) {
      told = values.error().message;
      session.err << "millrace: " << printable(told) << "; waiting\n" << std::flush;
      screen.keep();
    }
    // No newer batch yet, or the master is away or just back.
    const auto now = connection.call<api::JobDescription>(
        [&](auto& services, auto& answer) { services.control.describe(answer, arguments.name); });
    if (now) view.begin_anew_if_changed(now->summary.applied);
    std::this_thread::sleep_for(kConnectAgainAfter);
  }
}

}  // namespace

void add_watch_command(CLI::App& app, Session& session) {
  const auto [command, arguments] = add_command<WatchArguments>(
      app, session, "watch", "Show the words with the highest counts after each batch, until Ctrl-C",
      "  millrace watch wc\n  millrace watch wc -n 3 | cat\n  millrace --json watch wc --updates 5", watch);
  add_job_name(command, arguments->name);
  command->add_option("-n", arguments->n, "How many")->check(CLI::Range(1, 1000))->capture_default_str();
  command->add_option("--table", arguments->table,
                      "One of those that the job publishes; if none, its first with a rank");
  command->add_option("--updates", arguments->updates, "End after so many updates; 0: never")
      ->check(CLI::Range(int64_t{0}, std::numeric_limits<int64_t>::max()));
}

}  // namespace millrace::client
