// watch: the words with the highest counts, again after each batch.
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>
#include <utility>

#include "client/connection.h"
#include "client/options.h"
#include "client/output.h"
#include "common/base/text.h"

namespace millrace::client {
namespace {

struct WatchArguments {
  std::string name;
  int32_t n = 10;
  int64_t updates = 0;
};

constexpr auto kTryAgainAfter = std::chrono::milliseconds(300);
constexpr auto kShortestBetweenUpdates = std::chrono::milliseconds(50);

// What is written is flushed after each update, so there is nothing to tidy up.
void end_at_interrupt(int) {
  _exit(0);
}

// Draws over what was drawn before, where the output is a terminal.
class Screen {
 public:
  explicit Screen(const Output& output) : output_(output) {}

  void draw(std::vector<std::string> lines) {
    const std::lock_guard lock(mutex_);
    lines_ = std::move(lines);
    if (output_.terminal) return draw_on_terminal(size_now());
    for (const std::string& line : lines_) output_.stream << line << "\n";
    output_.stream << "\n" << std::flush;
  }

  // The window has another size: what stands there may be wrapped anew.
  void draw_again() {
    const std::lock_guard lock(mutex_);
    const Size size = size_now();
    if (lines_.empty() || size == drawn_for_) return;
    output_.stream << "\x1b[H\x1b[2J";
    drawn_ = 0;
    draw_on_terminal(size);
  }

  // Something else was written: the next drawing begins below it.
  void keep() {
    const std::lock_guard lock(mutex_);
    drawn_ = 0;
  }

 private:
  using Size = std::pair<size_t, size_t>;  // rows, columns

  static Size size_now() {
    winsize size{};
    const bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 && size.ws_row > 0;
    return known ? Size(size.ws_row, size.ws_col) : Size(24, 80);
  }

  // As many lines as there are rows above the cursor's own: what scrolls off cannot be drawn over.
  void draw_on_terminal(Size size) {
    if (drawn_ > 0 && size != drawn_for_) {
      output_.stream << "\x1b[H\x1b[2J";
    } else {
      if (drawn_ > 0) output_.stream << "\x1b[" << drawn_ << "A";
      output_.stream << "\r\x1b[J";
    }
    drawn_ = std::min(lines_.size(), std::max<size_t>(size.first, 2) - 1);
    for (size_t i = 0; i < drawn_; ++i) output_.stream << clipped(lines_[i], size.second - 1) << "\n";
    output_.stream.flush();
    drawn_for_ = size;
  }

  // A line that wraps would be two to erase. Cuts between code points; a tab counts 8.
  static std::string clipped(const std::string& line, size_t room) {
    for (size_t i = 0; i < line.size(); ++i) {
      const bool begins = (static_cast<unsigned char>(line[i]) & 0xc0) != 0x80;
      const size_t columns = line[i] == '\t' ? 8 : begins ? 1 : 0;
      if (columns > room) return line.substr(0, i);
      room -= columns;
    }
    return line;
  }

  const Output& output_;
  std::mutex mutex_;  // guards what follows, and the terminal
  std::vector<std::string> lines_;
  size_t drawn_ = 0;  // lines above the cursor
  Size drawn_for_;
};

// While it lives a window that changes its size is drawn at once, although the next batch may take long. Made before
// other threads are, since it blocks the signal.
class WindowFollower {
 public:
  explicit WindowFollower(Screen& screen) {
    sigemptyset(&change_);
    sigaddset(&change_, SIGWINCH);
    pthread_sigmask(SIG_BLOCK, &change_, nullptr);
    thread_ = std::thread([this, &screen] {
      int signal = 0;
      while (sigwait(&change_, &signal) == 0 && !over_) screen.draw_again();
    });
  }
  ~WindowFollower() {
    over_ = true;
    pthread_kill(thread_.native_handle(), SIGWINCH);
    thread_.join();
  }
  WindowFollower(const WindowFollower&) = delete;
  WindowFollower& operator=(const WindowFollower&) = delete;

 private:
  sigset_t change_{};
  std::atomic<bool> over_ = false;
  std::thread thread_;
};

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
  std::signal(SIGINT, end_at_interrupt);
  std::signal(SIGTERM, end_at_interrupt);
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
      services.query.top(answer, arguments.name, arguments.n, view.at_least());
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
    std::this_thread::sleep_for(kTryAgainAfter);
  }
}

}  // namespace

void add_watch_command(CLI::App& app, Session& session) {
  const auto [command, arguments] = add_command<WatchArguments>(
      app, session, "watch", "Show the words with the highest counts after each batch, until Ctrl-C",
      "  millrace watch wc\n  millrace watch wc -n 3 | cat\n  millrace --json watch wc --updates 5", watch);
  add_job_name(command, arguments->name);
  command->add_option("-n", arguments->n, "How many")->check(CLI::Range(1, 1000))->capture_default_str();
  command->add_option("--updates", arguments->updates, "End after so many updates; 0: never")
      ->check(CLI::Range(int64_t{0}, std::numeric_limits<int64_t>::max()));
}

}  // namespace millrace::client
