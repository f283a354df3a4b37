#include "adapters/log_receiver.h"

#include <algorithm>
#include <chrono>
#include <mutex>
#include <thread>
#include <utility>

#include "adapters/log_feed.h"
#include "adapters/open_receiver.h"
#include "adapters/stop_signal.h"

namespace millrace {
namespace {

using std::chrono::milliseconds;

constexpr auto kFirstPause = milliseconds(50);
constexpr auto kLongestPause = milliseconds(1000);
constexpr auto kOpenPause = milliseconds(1000);

// Tells the loop what is in the way as long as somebody wants to know it.
class ProblemBoard : public std::enable_shared_from_this<ProblemBoard> {
 public:
  ProblemBoard(TaskLoop& loop, std::function<void(const std::string&)> tell) : loop_(&loop), tell_(std::move(tell)) {}

  // Any thread.
  void show(const std::string& problem) {
    const std::scoped_lock lock(mutex_);
    if (loop_ == nullptr || problem == shown_) return;
    shown_ = problem;
    loop_->post([self = shared_from_this(), problem] {
      if (self->tell_) self->tell_(problem);
    });
  }
  // On the loop.
  void end() {
    tell_ = nullptr;
    const std::scoped_lock lock(mutex_);
    loop_ = nullptr;
  }

 private:
  std::mutex mutex_;
  TaskLoop* loop_;     // guarded by mutex_; null after end()
  std::string shown_;  // guarded by mutex_

  std::function<void(const std::string&)> tell_;  // the loop's
};

// One receiver and its log; used by one thread, but for stop().
class Work final : public ReceiverTarget {
 public:
  Work(LogReceiverOptions options, std::shared_ptr<ProblemBoard> board)
      : options_(std::move(options)), board_(std::move(board)) {}
  ~Work() override { receiver_.reset(); }
  Work(const Work&) = delete;
  Work& operator=(const Work&) = delete;

  // Until stop(): a directory that is missing may come yet.
  void run() {
    while (!open()) {
      if (!stop_.pause(kOpenPause)) return;
    }
    receiver_->start(*this);
    (void)stop_.wait(-1, 0, StopSignal::kNoLimit);
    receiver_.reset();
  }
  void stop() { stop_.stop(); }

  bool append(const ReceivedLines& lines) override {
    auto pause = kFirstPause;
    while (!stop_.stopped()) {
      const Status stored = feed_->append(lines.lines, lines.key);
      if (stored) {
        show_feed_problem("");
        return true;
      }
      show_feed_problem(stored.error().message);
      (void)stop_.pause(std::exchange(pause, std::min(2 * pause, kLongestPause)));
    }
    return false;
  }
  void tell_problem(std::string problem) override {
    receiver_problem_ = std::move(problem);
    show();
  }
  void tell_share(double) override {}
  void end(Status) override {}  // it has no end

 private:
  bool open() {
    auto feed = open_log_feed({options_.log, options_.log_config, options_.api});
    auto receiver = open_receiver({options_.receiver, options_.max_record_bytes, false, true});
    if (feed && receiver) {
      feed_ = std::move(*feed);
      receiver_ = std::move(*receiver);
      return true;
    }
    board_->show(feed ? receiver.error().message : feed.error().message);
    return false;
  }
  void show_feed_problem(const std::string& problem) {
    feed_problem_ = problem;
    show();
  }
  void show() { board_->show(feed_problem_.empty() ? receiver_problem_ : feed_problem_); }

  const LogReceiverOptions options_;
  const std::shared_ptr<ProblemBoard> board_;
  StopSignal stop_;

  std::unique_ptr<LogFeed> feed_;
  std::string feed_problem_;  // these two by the receiver's thread
  std::string receiver_problem_;
  std::unique_ptr<Receiver> receiver_;
};

class LogReceiver final : public RunningReceiver {
 public:
  LogReceiver(LogReceiverOptions options, TaskLoop& loop, std::function<void(const std::string&)> problem)
      : board_(std::make_shared<ProblemBoard>(loop, std::move(problem))),
        work_(std::make_shared<Work>(std::move(options), board_)) {
    // Left behind when this ends: it may wait for an answer just then, and the loop must not.
    std::thread([work = work_] { work->run(); }).detach();
  }
  ~LogReceiver() override {
    board_->end();
    work_->stop();
  }
  LogReceiver(const LogReceiver&) = delete;
  LogReceiver& operator=(const LogReceiver&) = delete;

 private:
  const std::shared_ptr<ProblemBoard> board_;
  const std::shared_ptr<Work> work_;
};

}  // namespace

std::unique_ptr<RunningReceiver> start_log_receiver(const LogReceiverOptions& options, TaskLoop& loop,
                                                    std::function<void(const std::string&)> problem) {
  return std::make_unique<LogReceiver>(options, loop, std::move(problem));
}

}  // namespace millrace
