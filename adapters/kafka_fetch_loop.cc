#include "adapters/kafka_fetch_loop.h"

#include <pthread.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <utility>

#include "adapters/file_descriptor.h"
#include "common/base/check.h"

namespace millrace {
namespace {

// In the order of what is waited for: the waker, the watch, and then the fetchers.
constexpr size_t kBeforeFetchers = 2;

constexpr Duration kPatience = std::chrono::seconds(5);  // with brokers that do not tell a topic's id

timespec until(MonotonicTime deadline, MonotonicTime now) {
  constexpr Duration kLongest = std::chrono::minutes(1);
  const Duration left = deadline <= now ? Duration{} : deadline - now < kLongest ? deadline - now : kLongest;
  const auto seconds = std::chrono::floor<std::chrono::seconds>(left);
  return {.tv_sec = seconds.count(), .tv_nsec = (left - seconds).count()};
}

}  // namespace

// Thread-safe.
class KafkaFetchLoop::Waker {
 public:
  Waker() : event_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    CHECK(event_.valid()) << "no eventfd: " << std::strerror(errno);
  }

  void wake() {
    if (!called_.exchange(true)) CHECK_EQ(::eventfd_write(event_.get(), 1), 0);
  }
  // Before looking at what it may have been woken for.
  void hear() {
    eventfd_t calls = 0;
    (void)::eventfd_read(event_.get(), &calls);
    called_ = false;
  }
  [[nodiscard]] int descriptor() const { return event_.get(); }

 private:
  const FileDescriptor event_;
  std::atomic<bool> called_{false};
};

void KafkaFetchLoop::Ticket::close() {
  closed_ = true;
  wake_();
}

KafkaFetchLoop::KafkaFetchLoop(KafkaReaderSettings settings)
    : settings_(std::move(settings)),
      waker_(std::make_shared<Waker>()),
      lookups_([waker = waker_] { waker->wake(); }),
      watch_(settings_, lookups_),
      shared_{settings_, watch_, unpacker_, blocks_, lookups_, [waker = waker_] { waker->wake(); }},
      drop_idle_at_(clock_.now()),
      thread_([this] { run(); }) {}

KafkaFetchLoop::~KafkaFetchLoop() {
  stop();
  thread_.join();
}

void KafkaFetchLoop::stop() {
  stopping_ = true;
  waker_->wake();
}

std::shared_ptr<KafkaFetchLoop::Ticket> KafkaFetchLoop::open(const LogReaderOptions& options,
                                                             std::unique_ptr<KafkaFetcher::Listener> listener) {
  auto ticket = std::make_shared<Ticket>();
  ticket->wake_ = shared_.wake;
  ticket->fetcher_ = std::make_unique<KafkaFetcher>(shared_, options, std::move(listener));
  {
    const std::scoped_lock lock(mutex_);
    opened_.push_back(ticket);
  }
  waker_->wake();
  return ticket;
}

void KafkaFetchLoop::ask_topic_id(IdDone done) {
  {
    const std::scoped_lock lock(mutex_);
    asked_.push_back(std::move(done));
  }
  waker_->wake();
}

void KafkaFetchLoop::run() {
  pthread_setname_np(pthread_self(), "kafka-fetch");
  std::vector<pollfd> watched;
  while (!stopping_) {
    const bool some_are_new = take_tickets();
    watch_all(watched);
    const MonotonicTime before = clock_.now();
    const timespec limit = until(some_are_new ? before : serve_at(), before);
    if (::ppoll(watched.data(), watched.size(), &limit, nullptr) < 0) {
      CHECK_EQ(errno, EINTR) << std::strerror(errno);
      continue;
    }
    if (watched[0].revents != 0) waker_->hear();
    const MonotonicTime now = clock_.now();
    take_questions(now);
    watch_.serve(now, watched[1].revents);
    answer_questions(now);
    for (size_t index = 0; index < tickets_.size(); ++index) {
      Ticket& ticket = *tickets_[index];
      if (!ticket.closed_) ticket.fetcher_->serve(clock_.now(), watched[kBeforeFetchers + index].revents);
    }
    drop_idle_memory(now);
  }
  take_tickets();
  for (const auto& ticket : tickets_) ticket->fetcher_ = nullptr;
}

// Whether there are new ones.
bool KafkaFetchLoop::take_tickets() {
  for (const auto& ticket : tickets_) {
    if (ticket->closed_) ticket->fetcher_ = nullptr;
  }
  std::erase_if(tickets_, [](const auto& ticket) { return ticket->fetcher_ == nullptr; });
  const std::scoped_lock lock(mutex_);
  tickets_.insert(tickets_.end(), opened_.begin(), opened_.end());
  return !std::exchange(opened_, {}).empty();
}

void KafkaFetchLoop::take_questions(MonotonicTime now) {
  const std::scoped_lock lock(mutex_);
  for (IdDone& done : asked_) questions_.push_back({std::move(done), watch_.ask(), now + kPatience});
  asked_.clear();
}

void KafkaFetchLoop::answer_questions(MonotonicTime now) {
  for (Question& question : questions_) {
    if (auto answer = answer_to(question, now)) std::exchange(question.done, nullptr)(std::move(*answer));
  }
  std::erase_if(questions_, [](const Question& question) { return question.done == nullptr; });
}

// nullopt: not yet.
std::optional<Result<KafkaTopicId>> KafkaFetchLoop::answer_to(Question& question, MonotonicTime now) {
  if (watch_.unspoken()) return KafkaTopicId{};
  if (watch_.answered() >= question.awaited) {
    const KafkaMetadata& newest = watch_.newest();
    const bool differs = newest.error != 0 || (told_id_ && newest.topic != *told_id_);
    if (differs && !question.differs_since) question.differs_since = now;
    if (!differs || (newest.error == 0 && now - *question.differs_since >= kBrokersLag)) {
      told_id_ = newest.topic;
      return newest.topic;
    }
    // That broker has not heard of it yet, or of its end: another one may know better.
    watch_.doubt();
    question.awaited = watch_.ask();
  }
  if (now < question.deadline) return std::nullopt;
  return fail(ErrorCode::kUnavailable, "no broker of " + settings_.brokers + " tells the id of topic '" +
                                           settings_.topic + "'" +
                                           (watch_.trouble() ? ": " + watch_.trouble()->message : ""));
}

void KafkaFetchLoop::watch_all(std::vector<pollfd>& watched) const {
  const auto entry = [](const auto& each) {
    const int descriptor = each.descriptor();  // poll(2) ignores -1
    return pollfd{descriptor, descriptor < 0 ? short{0} : each.wanted_events(), 0};
  };
  watched.clear();
  watched.push_back({waker_->descriptor(), POLLIN, 0});
  watched.push_back(entry(watch_));
  for (const auto& ticket : tickets_) watched.push_back(entry(*ticket->fetcher_));
}

MonotonicTime KafkaFetchLoop::serve_at() const {
  MonotonicTime first = watch_.serve_at();
  for (const auto& ticket : tickets_) first = std::min(first, ticket->fetcher_->serve_at());
  for (const Question& question : questions_) first = std::min(first, question.deadline);
  if (blocks_->idle_bytes() > 0) first = std::min(first, drop_idle_at_);
  return first;
}

void KafkaFetchLoop::drop_idle_memory(MonotonicTime now) {
  const Duration keep = settings_.timing.keep_idle_memory;
  for (const auto& ticket : tickets_) drop_idle_at_ = std::max(drop_idle_at_, ticket->fetcher_->busy_at() + keep);
  if (now < drop_idle_at_) return;
  blocks_->drop_idle();
  drop_idle_at_ = now + keep;
}

}  // namespace millrace
