#include "adapters/stop_signal.h"

#include <poll.h>
#include <sys/eventfd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "common/base/check.h"

namespace millrace {

StopSignal::StopSignal() : wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  CHECK(wake_.valid()) << "no eventfd: " << std::strerror(errno);
}

void StopSignal::stop() {
  stopped_ = true;
  CHECK_EQ(::eventfd_write(wake_.get(), 1), 0);
}

StopSignal::Woken StopSignal::wait(int descriptor, short events, std::chrono::milliseconds limit) const {
  using Clock = std::chrono::steady_clock;
  const auto deadline = Clock::now() + limit;
  for (;;) {
    std::array<pollfd, 2> watched = {{{wake_.get(), POLLIN, 0}, {descriptor, events, 0}}};  // poll() ignores -1
    int left = -1;
    if (limit >= std::chrono::milliseconds::zero()) {
      left = static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count());
      if (left <= 0) left = 0;
    }
    const int ready = ::poll(watched.data(), watched.size(), left);
    if (stopped_) return Woken::kStopped;
    if (ready > 0) return Woken::kReady;
    if (ready == 0) return Woken::kTimeout;
    CHECK_EQ(errno, EINTR) << std::strerror(errno);
  }
}

bool StopSignal::pause(std::chrono::milliseconds length) const {
  return wait(-1, 0, length) != Woken::kStopped;
}

}  // namespace millrace
