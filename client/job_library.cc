#include "client/job_library.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <utility>
#include <vector>

#include "client/job_drawing.h"

namespace millrace::client {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kPatience = std::chrono::seconds(10);
constexpr size_t kMaxAnswer = 1 << 20;
constexpr size_t kMaxLibraryBytes = 12 << 20;  // as the master has it

class Descriptor {
 public:
  explicit Descriptor(int number = -1) : number_(number) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() { reset(-1); }
  void reset(int number) {
    if (number_ >= 0) close(number_);
    number_ = number;
  }
  [[nodiscard]] int get() const { return number_; }

 private:
  int number_;
};

// This program once more, with `input` as its standard input and its output in pipes. Killed where it has not ended
// when this does.
class Child {
 public:
  enum class End { kEnded, kTooLate, kTooMuch };

  Child() = default;
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    if (process_ <= 0) return;
    ::kill(process_, SIGKILL);
    waitpid(process_, nullptr, 0);
  }

  // 0 or an errno.
  int start(std::vector<std::string> arguments, int input) {
    Descriptor out;
    Descriptor err;
    if (!make_pipe(out_, out) || !make_pipe(err_, err)) return errno;
    std::vector<char*> pointers;
    for (std::string& argument : arguments) pointers.push_back(argument.data());
    pointers.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, out.get(), STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, err.get(), STDERR_FILENO);
    const int problem = posix_spawn(&process_, "/proc/self/exe", &actions, nullptr, pointers.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    if (problem != 0) {
      process_ = -1;
      return problem;
    }
    ended_.reset(static_cast<int>(syscall(SYS_pidfd_open, process_, 0)));
    return ended_.get() < 0 ? errno : 0;
  }

  // What it has written when it ends; others that it started may hold the pipes longer.
  End wait(std::string& out, std::string& err, Clock::time_point deadline) {
    std::array<pollfd, 3> ends{pollfd{ended_.get(), POLLIN, 0}, pollfd{out_.get(), POLLIN, 0},
                               pollfd{err_.get(), POLLIN, 0}};
    for (;;) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
      if (left <= 0) return End::kTooLate;
      if (poll(ends.data(), ends.size(), static_cast<int>(left)) < 0 && errno != EINTR) return End::kTooLate;
      const bool ended = ends[0].revents != 0;
      if (!drain(ends[1], out) || !drain(ends[2], err)) return End::kTooMuch;
      if (!ended) continue;
      while (waitpid(process_, &status_, 0) < 0 && errno == EINTR) {
      }
      process_ = -1;
      return End::kEnded;
    }
  }

  [[nodiscard]] int status() const { return status_; }  // after kEnded

 private:
  static bool make_pipe(Descriptor& read, Descriptor& write) {
    std::array<int, 2> ends{};
    if (pipe2(ends.data(), O_CLOEXEC) != 0) return false;
    read.reset(ends[0]);
    write.reset(ends[1]);
    return fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0;
  }

  // False: too much was written.
  static bool drain(pollfd& end, std::string& text) {
    std::array<char, 4096> bytes{};
    while (end.fd >= 0 && text.size() <= kMaxAnswer) {
      const ssize_t size = read(end.fd, bytes.data(), bytes.size());
      if (size > 0) text.append(bytes.data(), static_cast<size_t>(size));
      if (size == 0) end.fd = -1;
      if (size < 0 && errno != EINTR) break;
    }
    return text.size() <= kMaxAnswer;
  }

  pid_t process_ = -1;
  int status_ = 0;
  Descriptor ended_;  // of the process
  Descriptor out_;
  Descriptor err_;
};

// A descriptor that reads the bytes from their begin.
int in_memory(const std::string& bytes) {
  const int file = memfd_create("job.so", MFD_CLOEXEC);
  if (file < 0) return -1;
  for (size_t written = 0; written < bytes.size();) {
    const ssize_t size = write(file, bytes.data() + written, bytes.size() - written);
    if (size < 0) {
      close(file);
      return -1;
    }
    written += static_cast<size_t>(size);
  }
  lseek(file, 0, SEEK_SET);
  return file;
}

std::optional<JobPart> part_from(const nlohmann::json& said) {
  const auto kind = kind_from(said.at("kind"));
  if (!kind) return std::nullopt;
  return JobPart{*kind, said.at("name"), said.at("facts"), said.at("stage"), said.at("from")};
}

Result<ExplainedJob> parse(const std::string& answer) {
  ExplainedJob job;
  try {
    const auto object = nlohmann::json::parse(answer);
    job.type = object.at("type");
    job.description = object.at("description");
    job.settings = object.at("settings").get<std::map<std::string, std::string>>();
    const auto& plan = object.at("plan");
    for (const auto& said : plan.at("tables")) {
      auto& table = job.plan.tables.emplace_back();
      table.name = said.at("name");
      table.form = said.at("form");
      table.rank = said.at("rank");
      table.rank_all = said.at("rank_all");
      table.rank_size = said.at("rank_size");
    }
    job.plan.needs_time = plan.at("needs_time");
    job.plan.removes = plan.at("removes");
    job.plan.levels = plan.at("levels");
    for (const auto& said : plan.at("states")) {
      auto& state = job.plan.states.emplace_back();
      state.name = said.at("name");
      state.layout = said.at("layout");
      state.of = said.at("of").get<std::vector<std::string>>();
      state.reads = said.at("reads").get<std::vector<std::string>>();
    }
    for (const auto& said : plan.at("outputs")) {
      api::OutputPlan output;
      output.name = said.at("name");
      output.format = said.at("format");
      output.parts = said.at("parts");
      job.plan.outputs.push_back(std::move(output));
    }
    job.plan.event_delay_ms = plan.at("event_delay_ms");
    job.plan.event_idle_ms = plan.at("event_idle_ms");
    for (const auto& said : object.at("parts")) {
      auto part = part_from(said);
      if (!part || std::ranges::any_of(part->from, [&job](size_t from) { return from >= job.shape.size(); })) {
        return fail(ErrorCode::kInvalid, "its answer is none: a part of the job");
      }
      job.shape.push_back(std::move(*part));
    }
  } catch (const nlohmann::json::exception& problem) {
    return fail(ErrorCode::kInvalid, std::string("its answer is none: ") + problem.what());
  }
  return job;
}

// The child's own error as it would stand here; the library may have written before.
std::string cause_of(const std::string& text) {
  constexpr std::string_view kMark = "millrace: ";
  std::string cause;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(kMark)) cause = line.substr(kMark.size());
  }
  return cause;
}

}  // namespace

bool is_library_path(const std::string& type) {
  return type.find('/') != std::string::npos || type.ends_with(".so");
}

Result<std::string> read_library(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream bytes;
  bytes << file.rdbuf();
  if (!file || !bytes) {
    return fail(ErrorCode::kInvalid, "the job library '" + path + "' cannot be read (" + std::strerror(errno) + ")");
  }
  if (bytes.view().size() > kMaxLibraryBytes) {
    return fail(ErrorCode::kInvalid, "the job library '" + path + "' has " + std::to_string(bytes.view().size()) +
                                         " bytes; up to " + std::to_string(kMaxLibraryBytes) +
                                         " are taken: build it with optimisation, and strip it");
  }
  return std::move(bytes).str();
}

Result<ExplainedJob> explain_library(const JobToExplain& job) {
  std::vector<std::string> arguments = {"millrace", "--json", "explain", job.library, "--here"};
  if (!job.type.empty()) arguments.insert(arguments.end(), {"--job", job.type});
  arguments.insert(arguments.end(), {"--batch-interval", std::to_string(job.batch_interval_ms) + "ms"});
  arguments.insert(arguments.end(), {"--max-record-bytes", std::to_string(job.max_record_bytes)});
  arguments.insert(arguments.end(), {"--state-partitions", std::to_string(job.state_partitions)});
  for (const auto& [key, value] : job.settings) arguments.insert(arguments.end(), {"--set", key + "=" + value});
  const Descriptor input(in_memory(job.bytes));
  Child child;
  const int problem = input.get() < 0 ? errno : child.start(std::move(arguments), input.get());
  if (problem != 0) {
    return fail(ErrorCode::kUnavailable,
                std::string("cannot start a process for the job library: ") + std::strerror(problem));
  }
  const std::string library = "the job library '" + job.library + "'";
  std::string out;
  std::string err;
  switch (child.wait(out, err, Clock::now() + kPatience)) {
    case Child::End::kEnded: break;
    case Child::End::kTooLate:
      return fail(ErrorCode::kInvalid, library + " does not tell its job within " + std::to_string(kPatience.count()) +
                                           " s; see what its code does when it is loaded");
    case Child::End::kTooMuch:
      return fail(ErrorCode::kInvalid, library + " writes without end when it is loaded; see what its code does then");
  }
  if (WIFSIGNALED(child.status())) {
    return fail(ErrorCode::kInvalid, library + " crashes when it is loaded or asked for its job (" +
                                         strsignal(WTERMSIG(child.status())) + "); see what its code does then");
  }
  if (WEXITSTATUS(child.status()) != 0) {
    const std::string cause = cause_of(err);
    return fail(ErrorCode::kInvalid, cause.empty() ? library + " ends the process that loads it" : cause);
  }
  auto explained = parse(out);
  if (!explained)
    return fail(ErrorCode::kInvalid, library + " ends the process that loads it, or writes to its output");
  return explained;
}

Status add_library(api::SubmitRequest& request, const std::string& job) {
  if (!is_library_path(request.type)) {
    if (job.empty()) return {};
    return fail(ErrorCode::kInvalid, "--job goes with a library of jobs; give its path in place of " + request.type);
  }
  auto bytes = read_library(request.type);
  if (!bytes) return std::unexpected(bytes.error());
  const auto explained = explain_library({.type = job,
                                          .library = request.type,
                                          .bytes = *bytes,
                                          .settings = request.settings,
                                          .batch_interval_ms = request.batch_interval_ms,
                                          .max_record_bytes = request.max_record_bytes,
                                          .state_partitions = request.state_partitions});
  if (!explained) return std::unexpected(explained.error());
  request.library = std::move(*bytes);
  request.type = explained->type;
  request.plan = explained->plan;
  return {};
}

}  // namespace millrace::client
