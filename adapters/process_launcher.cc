#include "adapters/process_launcher.h"

#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <csignal>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

namespace millrace {
namespace {

// Where this process and its children write their logs, if that is a file.
std::string log_file() {
  std::error_code error;
  const std::filesystem::path path = std::filesystem::read_symlink("/proc/self/fd/2", error);
  return !error && std::filesystem::is_regular_file(path, error) ? path.string() : "";
}

std::string describe_end(int status) {
  std::string text;
  if (WIFSIGNALED(status)) {
    const char* const name = sigdescr_np(WTERMSIG(status));
    text = "signal " + std::to_string(WTERMSIG(status)) + (name == nullptr ? "" : ", " + std::string(name));
  } else {
    text = "exit status " + std::to_string(WEXITSTATUS(status));
  }
  const std::string log = log_file();
  return text + ", see " + (log.empty() ? "the log of that worker" : log + " there");
}

int reap(pid_t pid) {
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

// Between fork and exec: only what is allowed there in a process with threads.
[[noreturn]] void become(char* const* arguments, pid_t parent, int64_t memory_limit_bytes) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(127);  // it died before the signal was set
  close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  if (memory_limit_bytes > 0) {
    rlimit limit{static_cast<rlim_t>(memory_limit_bytes), static_cast<rlim_t>(memory_limit_bytes)};
    setrlimit(RLIMIT_AS, &limit);
  }
  execv("/proc/self/exe", arguments);
  _exit(127);
}

}  // namespace

struct ForkLauncher::Child {
  std::string job_name;
  pid_t pid = 0;
  std::thread waiter;
};

ForkLauncher::ForkLauncher(TaskLoop& loop, std::vector<std::string> arguments)
    : loop_(loop), arguments_(std::move(arguments)) {}

ForkLauncher::~ForkLauncher() {
  for (auto& [process, child] : children_) {
    kill(child->pid, SIGKILL);
    child->waiter.join();
    reap(child->pid);
  }
}

Status ForkLauncher::launch(const LaunchRequest& request,
                            std::move_only_function<void(const std::string& reason)> ended) {
  std::vector<std::string> arguments = {"millrace-worker",
                                        "--executor",
                                        "--job_name=" + request.job_name,
                                        "--job=" + to_string(request.job),
                                        "--process=" + to_string(request.process),
                                        "--worker=" + to_string(request.worker),
                                        "--checkpoints=" + request.checkpoints,
                                        "--logs=" + request.logs};
  arguments.insert(arguments.end(), arguments_.begin(), arguments_.end());
  std::vector<char*> pointers;
  for (std::string& argument : arguments) pointers.push_back(argument.data());
  pointers.push_back(nullptr);

  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0) {
    return fail(ErrorCode::kUnavailable, std::string("no process can be started: ") + std::strerror(errno) +
                                             "; raise the limit of processes or memory");
  }
  if (pid == 0) become(pointers.data(), parent, request.memory_limit_bytes);

  auto child = std::make_unique<Child>();
  child->job_name = request.job_name;
  child->pid = pid;
  auto finish = [this, alive = std::weak_ptr<char>(alive_), process = request.process, pid,
                 ended = std::move(ended)]() mutable {
    if (alive.expired()) return;
    const auto found = children_.find(process);
    if (found == children_.end()) return;
    found->second->waiter.join();
    children_.erase(found);
    ended(describe_end(reap(pid)));
  };
  child->waiter = std::thread([this, pid, finish = std::move(finish)]() mutable {
    // Only looks: whoever may still send it a signal reaps it, so that its pid is its own until then.
    siginfo_t about = {};
    while (waitid(P_PID, static_cast<id_t>(pid), &about, WEXITED | WNOWAIT) < 0 && errno == EINTR) {
    }
    loop_.post(std::move(finish));
  });
  children_[request.process] = std::move(child);
  return {};
}

std::vector<ForkLauncher::Running> ForkLauncher::running() const {
  std::vector<Running> all;
  for (const auto& [process, child] : children_) all.push_back({process, child->job_name, child->pid});
  return all;
}

void ForkLauncher::end(ProcessId process) {
  // The child is a zombie at most until it leaves children_, so the pid is still its own.
  if (const auto found = children_.find(process); found != children_.end()) kill(found->second->pid, SIGKILL);
}

}  // namespace millrace
