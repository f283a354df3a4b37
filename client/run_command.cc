// run: a job within this process, until its input is counted.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>
#include <utility>

#include "client/input_pump.h"
#include "client/job_library.h"
#include "client/job_options.h"
#include "client/options.h"
#include "client/output.h"
#include "client/screen.h"
#include "common/base/text.h"
#include "common/model/job_plan.h"

namespace millrace::client {
namespace {

constexpr char kStandardInput[] = "-";
constexpr char kSources[] = "-, socket://HOST:PORT, directory:///PATH, kafka://HOST:PORT/TOPIC or log://NAME";
constexpr auto kLookAgainAfter = std::chrono::milliseconds(20);
constexpr int kDrawEvery = 5;  // looks
constexpr int32_t kBadRecordsShown = 10;
constexpr int32_t kMostLanes = 256;

using Clock = std::chrono::steady_clock;

struct RunArguments {
  JobOptions job;
  std::string name;
  std::string source = kStandardInput;
  std::string sink = "none:";
  std::string logs;
  std::string until;
  std::string table;
  int32_t lanes = static_cast<int32_t>(std::clamp(std::thread::hardware_concurrency(), 1U, 64U));
  int32_t n = 10;
};

// SIGINT and SIGTERM while it lives: they are asked for. Made before other threads are.
class Interrupts {
 public:
  Interrupts() {
    sigemptyset(&signals_);
    sigaddset(&signals_, SIGINT);
    sigaddset(&signals_, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals_, &before_);
  }
  ~Interrupts() { end(); }
  Interrupts(const Interrupts&) = delete;
  Interrupts& operator=(const Interrupts&) = delete;

  // They do again what they did before.
  void end() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  // Waits; true if one came.
  [[nodiscard]] bool wait(std::chrono::nanoseconds limit) const {
    const timespec timeout{.tv_sec = limit.count() / 1'000'000'000, .tv_nsec = limit.count() % 1'000'000'000};
    return sigtimedwait(&signals_, nullptr, &timeout) > 0;
  }

 private:
  sigset_t signals_{};
  sigset_t before_{};
};

Result<LocalRunSpec> spec_of(const RunArguments& arguments) {
  Result<api::SubmitRequest> request = finish_request(arguments.job);
  if (!request) return std::unexpected(request.error());
  if (Status added = add_library(*request, arguments.job.library_job); !added) return std::unexpected(added.error());
  const bool from_input = arguments.source == kStandardInput;
  if (from_input && !arguments.until.empty()) {
    return fail(ErrorCode::kInvalid, "--until is for kafka://, log:// and directory://; standard input ends by itself");
  }
  if (arguments.source.starts_with("log:") && arguments.logs.empty()) {
    return fail(ErrorCode::kInvalid,
                "--logs is missing: the folder `logs` in the --data_dir of the master that keeps " + arguments.source);
  }
  request->name = arguments.name.empty() ? request->type : arguments.name;
  request->source = from_input ? "" : arguments.source;
  request->sink = arguments.sink;
  // It only ends what is kept for a recovery, and here nobody recovers.
  request->checkpoint_interval_ms = std::max<int64_t>(10'000, request->batch_interval_ms);
  return LocalRunSpec{std::move(*request), arguments.lanes, arguments.logs, !arguments.until.empty()};
}

// How far it is, in one line.
class Progress {
 public:
  [[nodiscard]] std::string line(const LocalRunState& state, std::optional<double> done) const {
    const double seconds = std::chrono::duration<double>(Clock::now() - begin_).count();
    std::string text = counted(state.records, "records");
    if (state.dead_letters > 0) text += " (" + std::to_string(state.dead_letters) + " bad)";
    if (state.finished) return text + " in " + duration_text(seconds);
    text += ", " + rate_text(static_cast<double>(state.records) / std::max(seconds, 0.001));
    if (done && *done > 0.01) {
      text += ", " + std::to_string(static_cast<int>(*done * 100)) + "%, " + duration_text(seconds / *done - seconds) +
              " left";
    }
    return text;
  }

 private:
  const Clock::time_point begin_ = Clock::now();
};

// Of several tables each value says which one it is of.
void print_values(const Output& output, const std::vector<std::string>& tables, const LocalRunState& state,
                  LocalRun& run) {
  nlohmann::ordered_json object = {{"records", state.records}, {"dead_letters", state.dead_letters}};
  object["values"] = nlohmann::ordered_json::array();
  for (const std::string& table : tables) {
    const std::string prefix = tables.size() == 1 ? "" : table + "\t";
    run.for_each_value(table, [&](const std::string& key, const std::string& value) {
      if (!output.json) {
        output.stream << prefix << output.shown(key) << "\t" << output.shown(value) << "\n";
        return;
      }
      auto& entry = object["values"].emplace_back();
      if (tables.size() > 1) entry["table"] = table;
      entry["word"] = key;
      entry["count"] = json_value(value);
    });
  }
  if (output.json) print_json(output, object);
}

void tell_bad_records(std::ostream& err, int64_t all, const std::vector<BadRecord>& shown) {
  if (all == 0) return;
  err << "millrace: " << counted(all, "records") << (all == 1 ? " was" : " were") << " not counted:\n";
  for (const BadRecord& record : shown) err << "  " << record.place << ": " << printable(record.reason) << "\n";
  const int64_t more = all - static_cast<int64_t>(shown.size());
  if (more > 0) err << "  and " << more << " more\n";
}

// What is wrong with it the run itself says.
api::JobPlan plan_of(const Session& session, const api::SubmitRequest& request) {
  if (!request.library.empty() || !session.explain) return request.plan;
  const auto explained = session.explain({.type = request.type,
                                          .settings = request.settings,
                                          .batch_interval_ms = request.batch_interval_ms,
                                          .max_record_bytes = request.max_record_bytes,
                                          .state_partitions = request.state_partitions});
  return explained ? explained->plan : api::JobPlan();
}

// One run and what is seen of it.
class Watcher {
 public:
  Watcher(Session& session, const RunArguments& arguments, Interrupts& interrupts)
      : session_(session), arguments_(arguments), interrupts_(interrupts), pump_(session.input) {}

  Status run(LocalRunSpec spec) {
    const api::JobPlan plan = plan_of(session_, spec.request);
    if (Status chosen = choose_tables(plan); !chosen) return chosen;
    by_time_ = plan.needs_time && plan.event_delay_ms < 0;  // event time ends with the input
    // Lines of outputs and a live table would stand in each other's way.
    const auto is_shown = [&spec](const api::OutputPlan& output) {
      return !output.format.empty() && !spec.request.outputs.contains(output.name);
    };
    live_ = live_ && std::ranges::none_of(plan.outputs, is_shown);
    spec.show_lines = [&out = session_.out](std::string_view lines) { return show(out, lines); };
    auto started = session_.start_local_run(spec);
    if (!started) return std::unexpected(started.error());
    run_ = std::move(*started);
    if (spec.request.source.empty()) pump_->start(*run_);
    return watch();
  }

 private:
  static Status show(std::ostream& out, std::string_view lines) {
    out << lines << std::flush;
    if (out) return {};
    return fail(ErrorCode::kInvalid, "standard output takes no more");
  }

  // What is printed, and what is shown live: of several, the first one that has a rank. What is wrong with a job that
  // has no plan the run says.
  Status choose_tables(const api::JobPlan& plan) {
    const std::vector<TablePlan> tables = plan_from(plan).tables;
    if (tables.empty()) return {};
    const Result<size_t> named = find_table(tables, arguments_.table, WantedTable::kAny, "the job");
    if (!named) return fail(ErrorCode::kInvalid, named.error().message);
    live_table_ = tables[find_table(tables, arguments_.table, WantedTable::kRanked, "the job").value_or(*named)].name;
    tables_.clear();
    for (const TablePlan& table : tables) {
      if (arguments_.table.empty() || table.name == arguments_.table) tables_.push_back(table.name);
    }
    return {};
  }

  Status watch() {
    for (int looks = 0;; ++looks) {
      const bool interrupted = interrupts_.wait(kLookAgainAfter);
      const LocalRunState state = run_->state(live_table_, static_cast<size_t>(arguments_.n));
      if (const auto unread = pump_->failure()) return std::unexpected(*unread);
      if (!state.failure.empty()) return fail(ErrorCode::kIo, state.failure);
      if (live_ && (state.finished || interrupted || looks % kDrawEvery == 0)) draw(state);
      if (state.finished || interrupted) return finish(state);
      tell_problem(state);
    }
  }

  void draw(const LocalRunState& state) {
    std::vector<std::string> lines = {progress_.line(state, done(state))};
    if (!state.problem.empty() && !state.finished) lines.push_back(printable(state.problem));
    for (const auto& [key, value] : state.top) lines.push_back(output_.shown(key) + "\t" + output_.shown(value));
    screen_.draw(std::move(lines));
  }

  // Of the whole input, as far as its size is known.
  [[nodiscard]] std::optional<double> done(const LocalRunState& state) const {
    const auto read = pump_->share_read();
    if (arguments_.source != kStandardInput) {
      return arguments_.until.empty() ? std::nullopt : std::optional(state.done_of_known);
    }
    if (!read || pump_->lines() == 0) return std::nullopt;
    return *read * static_cast<double>(state.records) / static_cast<double>(pump_->lines());
  }

  Status finish(const LocalRunState& state) {
    const bool endless = arguments_.source != kStandardInput && arguments_.until.empty();
    const bool whole = state.finished || endless;  // what has no end is ended by an interrupt
    // The table shows the highest; who wants all of them pipes. A job without a rank has no table.
    const bool prints = whole && (!live_ || !state.has_rank);
    const std::vector<BadRecord> bad = run_->bad_records(kBadRecordsShown);
    // Who interrupts again ends this without a word: a function of the job may never return.
    interrupts_.end();
    pump_.reset();
    run_->end();
    // Nobody but the output can mean it now, and so does a reader of the results who leaves.
    std::signal(SIGPIPE, SIG_DFL);
    if (prints) print_values(output_, tables_, state, *run_);
    if (output_.terminal) output_.stream.flush();  // what follows stands below it
    if (by_time_ && state.finished) {
      session_.err << "millrace: this job goes by time: shown is what it held at its last slide, and what came after "
                      "that is not\n";
    }
    tell_bad_records(session_.err, state.dead_letters, bad);
    if (state.late > 0) {
      session_.err << "millrace: records that came too late for their windows: " << state.late << "\n";
    }
    if (whole) return {};
    return fail(ErrorCode::kUnavailable, "interrupted after " + counted(state.records, "records") + "; " +
                                             (live_ ? "the counts are of those" : "no counts are printed"));
  }

  // On a terminal it has a line above the table. The same one is told again only if something was counted between.
  void tell_problem(const LocalRunState& state) {
    if (state.problem.empty() && state.records > records_when_told_) told_.clear();
    if (live_ || state.problem.empty() || state.problem == told_) return;
    told_ = state.problem;
    records_when_told_ = state.records;
    session_.err << "millrace: " << printable(state.problem) << "; waiting\n" << std::flush;
  }

  Session& session_;
  const RunArguments& arguments_;
  Interrupts& interrupts_;
  const Output output_ = session_.output();
  // Not where somebody types the input: what is drawn and what is typed would stand in each other's lines.
  bool live_ =
      output_.terminal && !output_.json && (arguments_.source != kStandardInput || isatty(session_.input) == 0);
  Screen screen_{output_};
  Progress progress_;
  std::string told_;
  int64_t records_when_told_ = 0;
  bool by_time_ = false;
  std::vector<std::string> tables_ = {""};  // that are printed; "": the first one
  std::string live_table_;
  std::unique_ptr<LocalRun> run_;
  std::optional<InputPump> pump_;  // ends before what it feeds
};

Status run(Session& session, const RunArguments& arguments) {
  session.invalid_is_usage = true;
  if (!session.start_local_run) return fail(ErrorCode::kInvalid, "this program cannot run jobs itself");
  auto spec = spec_of(arguments);
  if (!spec) return std::unexpected(spec.error());
  Interrupts interrupts;
  std::signal(SIGPIPE, SIG_IGN);  // of a sink's or broker's connection
  return Watcher(session, arguments, interrupts).run(std::move(*spec));
}

}  // namespace

void add_run_command(CLI::App& app, Session& session) {
  const auto [command, arguments] = add_command<RunArguments>(
      app, session, "run", "Run a job in this process, without a cluster, and print what it counts",
      "  printf 'a b a\\n' | millrace run word_count\n"
      "  millrace run word_count < book.txt            # on a terminal: a live table of the highest\n"
      "  millrace run word_count < book.txt | head     # piped: every word, the highest first\n"
      "  millrace run network_word_count --source socket://localhost:9999    # beside it: nc -lk 9999\n"
      "  millrace run word_count --source directory:///var/spool/texts\n"
      "  millrace run word_count --source kafka://127.0.0.1:9092/lines --until latest\n"
      "  tail -f access.log | millrace run word_count --set field=path",
      run);
  add_job_type(command, arguments->job);
  command
      ->add_option("--source", arguments->source,
                   "Where the records come from. Lines: - for standard input; socket://HOST:PORT, a server that sends "
                   "them; directory:///PATH, of the files there and of those that come. Logs: "
                   "kafka://HOST:PORT[,HOST:PORT]/TOPIC[,TOPIC]; log://NAME[,NAME]")
      ->capture_default_str()
      ->check([check = uri_check({"socket", "directory", "kafka", "log"}, kSources)](const std::string& text) {
        return text == kStandardInput ? "" : check(text);
      });
  command
      ->add_option("--until", arguments->until,
                   "latest: end where the topic or log ended at the start, or with the files that are there")
      ->check(CLI::IsMember({"latest"}));
  command->add_option("--logs", arguments->logs, "Folder of the embedded logs, for log://NAME: DATA_DIR/logs");
  command->add_option(
      "--table", arguments->table,
      "The table to print. Of a job with several ones each line begins with the table's name if none is "
      "given, and on a terminal the first one with a rank is shown");
  command->add_option("-n", arguments->n, "How many of the highest are shown on a terminal")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command->add_option("--lanes", arguments->lanes, "Threads that map and reduce")
      ->check(CLI::Range(1, kMostLanes))
      ->capture_default_str();
  command->add_option("--sink", arguments->sink, "Where the results go besides: redis://HOST[:PORT][/DB]")
      ->capture_default_str()
      ->check(uri_check({"redis", "none"}, "redis://HOST[:PORT][/DB] or none:"));
  command->add_option("--name", arguments->name, "Name of the job in the sink; the type if it is not given")
      ->check([](const std::string& text) { return problem_of(check_name("the name", text)); });
  add_job_options(command, arguments->job);
}

}  // namespace millrace::client
