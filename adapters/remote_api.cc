#include "adapters/remote_api.h"

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "adapters/api_connection.h"

namespace millrace {
namespace {

// Longer than the master itself takes, so that it is the one who says what was late.
constexpr Duration kQuestionTime = std::chrono::seconds(20);
constexpr Duration kCommandTime = std::chrono::seconds(70);

}  // namespace

class RemoteApi::Pool {
 public:
  // `repeats`: calls change nothing, so they may be made again.
  Pool(const HostPort& master, size_t threads, size_t most_waiting, bool repeats)
      : most_waiting_(most_waiting), repeats_(repeats) {
    for (size_t i = 0; i < threads; ++i) threads_.emplace_back([this, master] { work(master); });
  }
  ~Pool() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
    threads_.clear();
    for (Call& call : waiting_) call(nullptr);
  }
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  // `use(services, answer)` makes the call.
  template <typename T, typename Use>
  void call(Duration limit, Use use, Done<T> done) {
    Call call = [this, limit, use = std::move(use), done = std::move(done)](ApiConnection* connection) mutable {
      if (connection == nullptr) {
        return done(fail(ErrorCode::kUnavailable, "too many calls to the master are waiting; try again"));
      }
      Result<T> answer = connection->call<T>(limit, use);
      if (!answer && repeats_ && connection->was_stale()) answer = connection->call<T>(limit, use);
      done(std::move(answer));
    };
    {
      const std::lock_guard lock(mutex_);
      if (waiting_.size() < most_waiting_) {
        waiting_.push_back(std::move(call));
        changed_.notify_one();
        return;
      }
    }
    call(nullptr);
  }

 private:
  using Call = std::move_only_function<void(ApiConnection*)>;  // null: it is not made

  void work(const HostPort& master) {
    ApiConnection connection(master);
    while (true) {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
      if (stopping_) return;
      Call call = std::move(waiting_.front());
      waiting_.pop_front();
      lock.unlock();
      call(&connection);
    }
  }

  const size_t most_waiting_;
  const bool repeats_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Call> waiting_;  // guarded by mutex_
  bool stopping_ = false;     // guarded by mutex_
  std::vector<std::jthread> threads_;
};

RemoteApi::RemoteApi(RemoteApiOptions options)
    : questions_(std::make_unique<Pool>(options.master, options.questions, options.most_waiting, true)),
      commands_(std::make_unique<Pool>(options.master, options.commands, options.most_waiting, false)),
      followers_(std::make_unique<Pool>(options.master, options.followers, options.most_waiting, true)),
      pages_(std::make_unique<Pool>(options.master, options.pages, options.most_waiting, true)) {}
RemoteApi::~RemoteApi() = default;

void RemoteApi::submit(api::SubmitRequest request, Done<api::JobSummary> done) {
  commands_->call(kCommandTime, [=](auto& to, auto& answer) { to.control.submit(answer, request); }, std::move(done));
}
void RemoteApi::jobs(Done<std::vector<api::JobSummary>> done) {
  questions_->call(kQuestionTime, [](auto& to, auto& answer) { to.control.jobs(answer); }, std::move(done));
}
void RemoteApi::job_types(Done<std::vector<api::JobType>> done) {
  questions_->call(kQuestionTime, [](auto& to, auto& answer) { to.control.job_types(answer); }, std::move(done));
}
void RemoteApi::describe(std::string name, Done<api::JobDescription> done) {
  questions_->call(kQuestionTime, [=](auto& to, auto& answer) { to.control.describe(answer, name); }, std::move(done));
}
void RemoteApi::stop(std::string name, Done<api::JobSummary> done) {
  commands_->call(kCommandTime, [=](auto& to, auto& answer) { to.control.stop(answer, name); }, std::move(done));
}
void RemoteApi::resume(std::string name, Done<api::JobSummary> done) {
  commands_->call(kCommandTime, [=](auto& to, auto& answer) { to.control.resume(answer, name); }, std::move(done));
}
void RemoteApi::resume_from(std::string name, int64_t batch, Done<api::JobSummary> done) {
  commands_->call(
      kCommandTime, [=](auto& to, auto& answer) { to.control.resume_from(answer, name, batch); }, std::move(done));
}
void RemoteApi::plan_upgrade(api::UpgradeRequest request, Done<api::UpgradePlan> done) {
  questions_->call(
      kQuestionTime, [=](auto& to, auto& answer) { to.control.plan_upgrade(answer, request); }, std::move(done));
}
void RemoteApi::upgrade(api::UpgradeRequest request, Done<api::JobSummary> done) {
  commands_->call(kCommandTime, [=](auto& to, auto& answer) { to.control.upgrade(answer, request); }, std::move(done));
}
void RemoteApi::kill(std::string name, bool purge, Done<bool> done) {
  commands_->call(
      kCommandTime,
      [=](auto& to, auto& answer) {
        to.control.kill(name, purge);
        answer = true;
      },
      std::move(done));
}
void RemoteApi::checkpoints(std::string name, Done<std::vector<api::Checkpoint>> done) {
  questions_->call(
      kQuestionTime, [=](auto& to, auto& answer) { to.control.checkpoints(answer, name); }, std::move(done));
}
void RemoteApi::batches(std::string name, int32_t n, int64_t before, Done<api::BatchProfiles> done) {
  questions_->call(
      kQuestionTime, [=](auto& to, auto& answer) { to.control.batches(answer, name, n, before); }, std::move(done));
}
void RemoteApi::workers(Done<std::vector<api::WorkerSummary>> done) {
  questions_->call(kQuestionTime, [](auto& to, auto& answer) { to.control.workers(answer); }, std::move(done));
}
void RemoteApi::lag(std::string name, Done<api::Lag> done) {
  questions_->call(kQuestionTime, [=](auto& to, auto& answer) { to.control.lag(answer, name); }, std::move(done));
}
void RemoteApi::get(std::string name, std::vector<std::string> keys, int64_t at_least, std::string table,
                    Done<api::Values> done) {
  questions_->call(
      kQuestionTime, [=](auto& to, auto& answer) { to.query.get(answer, name, keys, at_least, table); },
      std::move(done));
}
void RemoteApi::top(std::string name, int32_t n, int64_t at_least, std::string table, Done<api::Values> done) {
  questions_->call(
      kQuestionTime, [=](auto& to, auto& answer) { to.query.top(answer, name, n, at_least, table); }, std::move(done));
}
void RemoteApi::docs(api::DocsRequest request, Done<api::Docs> done) {
  questions_->call(kQuestionTime, [=](auto& to, auto& answer) { to.query.docs(answer, request); }, std::move(done));
}
void RemoteApi::changes(api::ChangesRequest request, Done<api::Changes> done) {
  Pool& pool = request.wait_ms > 0 ? *followers_ : *questions_;
  pool.call(
      std::chrono::milliseconds(request.wait_ms) + kQuestionTime,
      [=](auto& to, auto& answer) { to.query.changes(answer, request); }, std::move(done));
}
void RemoteApi::search(api::SearchRequest request, Done<api::Page> done) {
  pages_->call(kQuestionTime, [=](auto& to, auto& answer) { to.query.search(answer, request); }, std::move(done));
}
void RemoteApi::totals(std::string name, std::string table, Done<api::Totals> done) {
  pages_->call(kQuestionTime, [=](auto& to, auto& answer) { to.query.totals(answer, name, table); }, std::move(done));
}
void RemoteApi::dead_letters(std::string name, int32_t limit, int32_t from_partition, int64_t from_offset,
                             std::string from_topic, Done<api::DeadLetters> done) {
  questions_->call(
      kQuestionTime,
      [=](auto& to, auto& answer) {
        to.query.dead_letters(answer, name, limit, from_partition, from_offset, from_topic);
      },
      std::move(done));
}

}  // namespace millrace
