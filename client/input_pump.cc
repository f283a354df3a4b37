#include "client/input_pump.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "client/line_reader.h"

namespace millrace::client {
namespace {

void do_nothing(int) {}

}  // namespace

InputPump::InputPump(int descriptor) : descriptor_(descriptor) {
  struct sigaction action = {};
  action.sa_handler = do_nothing;
  sigaction(SIGUSR1, &action, nullptr);
  sigset_t wake;
  sigemptyset(&wake);
  sigaddset(&wake, SIGUSR1);
  pthread_sigmask(SIG_BLOCK, &wake, &while_waiting_);
  sigdelset(&while_waiting_, SIGUSR1);
  struct stat input{};
  if (fstat(descriptor_, &input) == 0 && S_ISREG(input.st_mode)) {
    size_ = std::max<int64_t>(0, input.st_size - lseek(descriptor_, 0, SEEK_CUR));
  }
}

InputPump::~InputPump() {
  if (!thread_.joinable()) return;
  over_ = true;
  run_->refuse_input();
  pthread_kill(thread_.native_handle(), SIGUSR1);
  thread_.join();
}

void InputPump::start(LocalRun& run) {
  run_ = &run;
  thread_ = std::thread([this] { pump(); });
}

void InputPump::pump() {
  // Interrupts are for the thread that waits for them.
  sigset_t mask = while_waiting_;
  sigaddset(&mask, SIGINT);
  sigaddset(&mask, SIGTERM);
  LineReader reader(descriptor_, mask);
  while (true) {
    const auto group = reader.next();
    if (!group) return fail(group.error());
    if (group->end && reader.interrupted() && !over_) {
      return fail({ErrorCode::kIo, "standard input was given up, because SIGUSR1 came"});
    }
    if (!group->lines.empty() && !run_->append(group->lines)) return;
    lines_ += static_cast<int64_t>(group->lines.size());
    bytes_ = reader.bytes_read();
    if (group->end) return run_->end_input();
  }
}

void InputPump::fail(Error error) {
  const std::scoped_lock lock(mutex_);
  failure_ = std::move(error);
}

std::optional<Error> InputPump::failure() const {
  const std::scoped_lock lock(mutex_);
  return failure_;
}

std::optional<double> InputPump::share_read() const {
  if (size_ == 0) return std::nullopt;
  return std::min(1.0, static_cast<double>(bytes_) / static_cast<double>(size_));
}

}  // namespace millrace::client
