#include "client/job_library.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <utility>
#include <vector>

namespace millrace::client {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kPatience = std::chrono::seconds(10);
constexpr size_t kMaxAnswer = 1 << 20;
constexpr size_t kMaxLibraryBytes = 12 << 20;  // as the master has it

// A program with its output in a pipe; killed where it is not through when this ends.
class Child {
 public:
  Child() = default;
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    for (const int end : {out_, err_}) {
      if (end >= 0) close(end);
    }
    if (process_ > 0) {
      kill(process_, SIGKILL);
      waitpid(process_, nullptr, 0);
    }
  }

  // 0 or an errno.
  int start(std::vector<std::string> arguments) {
    std::array<int, 2> out{};
    std::array<int, 2> err{};
    if (pipe2(out.data(), O_CLOEXEC) != 0) return errno;
    out_ = out[0];
    if (pipe2(err.data(), O_CLOEXEC) != 0) {
      close(out[1]);
      return errno;
    }
    err_ = err[0];
    std::vector<char*> pointers;
    for (std::string& argument : arguments) pointers.push_back(argument.data());
    pointers.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, err[1], STDERR_FILENO);
    const int problem = posix_spawn(&process_, "/proc/self/exe", &actions, nullptr, pointers.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    close(out[1]);
    close(err[1]);
    if (problem != 0) process_ = -1;
    return problem;
  }

  // What it writes until it ends. False: it is not through in time, or writes too much.
  bool read(std::string& out, std::string& err, Clock::time_point deadline) {
    std::array<pollfd, 2> ends{pollfd{out_, POLLIN, 0}, pollfd{err_, POLLIN, 0}};
    std::array<std::string*, 2> texts{&out, &err};
    while (ends[0].fd >= 0 || ends[1].fd >= 0) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
      if (left <= 0) return false;
      if (poll(ends.data(), ends.size(), static_cast<int>(left)) < 0 && errno != EINTR) return false;
      for (size_t i = 0; i < ends.size(); ++i) {
        if (ends[i].fd < 0 || ends[i].revents == 0) continue;
        std::array<char, 4096> bytes{};
        const ssize_t size = ::read(ends[i].fd, bytes.data(), bytes.size());
        if (size > 0) texts[i]->append(bytes.data(), static_cast<size_t>(size));
        if (size == 0 || (size < 0 && errno != EINTR)) ends[i].fd = -1;
        if (texts[i]->size() > kMaxAnswer) return false;
      }
    }
    return true;
  }

  // After read(): how it ended.
  int wait() {
    int status = 0;
    while (waitpid(process_, &status, 0) < 0 && errno == EINTR) {
    }
    process_ = -1;
    return status;
  }

 private:
  pid_t process_ = -1;
  int out_ = -1;
  int err_ = -1;
};

Result<ExplainedJob> parse(const std::string& answer) {
  ExplainedJob job;
  try {
    const auto object = nlohmann::json::parse(answer);
    job.type = object.at("type");
    job.description = object.at("description");
    job.settings = object.at("settings").get<std::map<std::string, std::string>>();
    const auto& plan = object.at("plan");
    job.plan.values = plan.at("values");
    job.plan.rank = plan.at("rank");
    job.plan.rank_all = plan.at("rank_all");
    job.plan.rank_size = plan.at("rank_size");
    job.plan.needs_time = plan.at("needs_time");
    job.plan.removes = plan.at("removes");
  } catch (const nlohmann::json::exception& problem) {
    return fail(ErrorCode::kInvalid, std::string("its answer is none: ") + problem.what());
  }
  return job;
}

// The child's error as it would stand here.
std::string cause_of(std::string text) {
  if (text.starts_with("millrace: ")) text.erase(0, 10);
  if (const size_t end = text.find('\n'); end != std::string::npos) text.resize(end);
  return text;
}

}  // namespace

bool is_library_path(const std::string& type) {
  return type.find('/') != std::string::npos || type.ends_with(".so");
}

Result<ExplainedJob> explain_library(const JobToExplain& job) {
  std::vector<std::string> arguments = {"millrace", "--json", "explain", job.library, "--here"};
  if (!job.type.empty()) arguments.insert(arguments.end(), {"--job", job.type});
  arguments.insert(arguments.end(), {"--batch-interval", std::to_string(job.batch_interval_ms) + "ms"});
  arguments.insert(arguments.end(), {"--max-record-bytes", std::to_string(job.max_record_bytes)});
  for (const auto& [key, value] : job.settings) arguments.insert(arguments.end(), {"--set", key + "=" + value});
  Child child;
  if (const int problem = child.start(std::move(arguments)); problem != 0) {
    return fail(ErrorCode::kUnavailable,
                std::string("cannot start a process for the job library: ") + std::strerror(problem));
  }
  const std::string library = "the job library '" + job.library + "'";
  std::string out;
  std::string err;
  if (!child.read(out, err, Clock::now() + kPatience)) {
    return fail(ErrorCode::kInvalid, library + " does not tell its jobs within " + std::to_string(kPatience.count()) +
                                         " s; see what its code does when it is loaded");
  }
  const int status = child.wait();
  if (WIFSIGNALED(status)) {
    return fail(ErrorCode::kInvalid, library + " crashes when it is loaded or asked for its job (" +
                                         strsignal(WTERMSIG(status)) + "); see what its code does then");
  }
  if (WEXITSTATUS(status) != 0) {
    const std::string cause = cause_of(std::move(err));
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
  const std::string path = request.type;
  const auto explained = explain_library({.type = job,
                                          .library = path,
                                          .settings = request.settings,
                                          .batch_interval_ms = request.batch_interval_ms,
                                          .max_record_bytes = request.max_record_bytes});
  if (!explained) return std::unexpected(explained.error());
  std::ifstream file(path, std::ios::binary);
  std::ostringstream bytes;
  bytes << file.rdbuf();
  if (!file || !bytes) {
    return fail(ErrorCode::kInvalid, "the job library '" + path + "' cannot be read: " + std::strerror(errno));
  }
  request.library = std::move(bytes).str();
  if (request.library.size() > kMaxLibraryBytes) {
    return fail(ErrorCode::kInvalid, "the job library '" + path + "' has " + std::to_string(request.library.size()) +
                                         " bytes; up to " + std::to_string(kMaxLibraryBytes) +
                                         " are taken: build it with optimisation, and strip it");
  }
  request.type = explained->type;
  request.plan = explained->plan;
  return {};
}

}  // namespace millrace::client
