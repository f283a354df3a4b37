// changes: what becomes of each key of a table, batch by batch.
#include <limits>
#include <nlohmann/json.hpp>
#include <thread>
#include <utility>

#include "client/connection.h"
#include "client/options.h"
#include "client/output.h"
#include "client/screen.h"
#include "common/api/api_json.h"
#include "common/api/change_position.h"
#include "common/base/text.h"

namespace millrace::client {
namespace {

struct ChangesArguments {
  std::string name;
  std::string table;
  std::string after;
  int64_t batches = 0;
};

constexpr int32_t kWaitMs = 10'000;
constexpr auto kAskAgainAfter = std::chrono::milliseconds(300);

void print_batch(const Output& output, const api::BatchChanges& batch, const std::string& table) {
  if (!output.json) {
    for (const api::Change* change : last_of_each_key(batch)) {
      output.stream << batch.as_of.batch << "\t" << output.shown(change->key) << "\t"
                    << (change->removed ? "-" : output.shown(change->text)) << "\n";
    }
    return;
  }
  nlohmann::ordered_json object = json_of(batch);
  if (!table.empty()) object["table"] = table;
  print_json(output, object);
}

void print_reset(Session& session, const Output& output, const api::AsOf& position, bool first) {
  if (output.json) {
    print_json(output, {{"position", position_text(position)}, {"batch", position.batch}, {"reset", true}});
  } else if (first) {
    session.err << "millrace: changes after batch " << position.batch << "\n" << std::flush;
  } else {
    session.err << "millrace: what changed up to batch " << position.batch
                << " cannot be told any more; what you need of it ask with `millrace get` or `top`\n"
                << std::flush;
  }
}

Status changes(Session& session, const ChangesArguments& arguments) {
  end_at_interrupt();
  const Output output = session.output();
  Connection connection(session);
  api::ChangesRequest request;
  request.name = arguments.name;
  request.table = arguments.table;
  request.wait_ms = kWaitMs;
  if (!arguments.after.empty()) {
    Result<api::AsOf> after = parse_position(arguments.after);
    if (!after) return std::unexpected(after.error());
    request.after = *std::move(after);
  }
  bool reached = false;
  int64_t told = 0;
  std::string waiting_for;
  while (true) {
    const auto answer =
        connection.call<api::Changes>([&](auto& services, auto& changes) { services.query.changes(changes, request); });
    if (!answer) {
      const ErrorCode code = answer.error().code;
      const bool passes = code == ErrorCode::kUnavailable || code == ErrorCode::kTimeout;
      if (!passes || (!reached && !connection.connected())) return std::unexpected(answer.error());
      if (std::exchange(waiting_for, answer.error().message) != answer.error().message) {
        session.err << "millrace: " << printable(waiting_for) << "; waiting\n" << std::flush;
      }
      std::this_thread::sleep_for(kAskAgainAfter);
      continue;
    }
    waiting_for.clear();
    if (answer->reset) print_reset(session, output, answer->position, !reached && arguments.after.empty());
    reached = true;
    request.after = answer->position;
    for (const api::BatchChanges& batch : answer->batches) {
      if (batch.changes.empty()) continue;
      print_batch(output, batch, answer->table);
      if (++told == arguments.batches) return {};
    }
    output.stream.flush();
    if (!output.stream) return fail(ErrorCode::kIo, "the output cannot be written");
  }
}

}  // namespace

void add_changes_command(CLI::App& app, Session& session) {
  const auto [command, arguments] = add_command<ChangesArguments>(
      app, session, "changes", "Print the words whose counts change, with the new ones, batch by batch, until Ctrl-C",
      "  millrace changes wc\n  millrace --json changes wc --batches 10\n"
      "  millrace changes wc --after 82c6ab27d081a61f-1-500",
      changes);
  add_job_name(command, arguments->name);
  command->add_option("--table", arguments->table, "One of those that the job publishes; if none, its first");
  command
      ->add_option("--after", arguments->after,
                   "The `position` of the last batch that is known, as --json prints it; if none, from now on")
      ->check([](const std::string& text) {
        const auto position = parse_position(text);
        return position ? "" : position.error().message;
      });
  command->add_option("--batches", arguments->batches, "End after so many batches with changes; 0: never")
      ->check(CLI::Range(int64_t{0}, std::numeric_limits<int64_t>::max()));
}

}  // namespace millrace::client
