#include "adapters/redis_sink.h"

#include <utility>

#include "adapters/redis_writer.h"
#include "adapters/worker_thread.h"
#include "common/base/check.h"

namespace millrace {

Result<std::unique_ptr<RedisSink>> RedisSink::open(TaskLoop& loop, const std::string& uri, RedisSinkOptions options) {
  Result<RedisAddress> address = parse_redis_uri(uri, options.config);
  if (!address) return std::unexpected(address.error());
  CHECK(options.partition_of != nullptr);
  return std::unique_ptr<RedisSink>(new RedisSink(loop, std::move(*address), std::move(options)));
}

RedisSink::RedisSink(TaskLoop& loop, RedisAddress address, RedisSinkOptions options)
    : max_calls_(options.max_calls),
      writer_(std::make_unique<RedisWriter>(std::move(address), std::move(options))),
      thread_(std::make_unique<WorkerThread>(loop, "redis-sink")) {}

RedisSink::~RedisSink() {
  writer_->interrupt();
  thread_->stop();
}

template <typename T>
bool RedisSink::admit(std::move_only_function<void(T)>& done) {
  if (calls_ < max_calls_) {
    ++calls_;
    return true;
  }
  thread_->complete([done = std::move(done)]() mutable {
    done(fail(ErrorCode::kUnavailable, "too many calls wait for Redis; it is too slow or away"));
  });
  return false;
}

template <typename T, typename Work>
void RedisSink::run(Work work, std::move_only_function<void(T)> done) {
  if (!admit(done)) return;
  {
    const std::scoped_lock lock(mutex_);
    open_ = nullptr;
  }
  thread_->run([this, work = std::move(work), done = std::move(done)]() mutable {
    thread_->complete([this, result = work(), done = std::move(done)]() mutable {
      --calls_;
      done(std::move(result));
    });
  });
}

void RedisSink::claim(SinkIdentity identity, bool take_over, std::move_only_function<void(Status)> done) {
  run<Status>([this, identity = std::move(identity), take_over] { return writer_->claim(identity, take_over); },
              std::move(done));
}

void RedisSink::purge(SinkIdentity identity, std::move_only_function<void(Status)> done) {
  run<Status>([this, identity = std::move(identity)] { return writer_->purge(identity); }, std::move(done));
}

void RedisSink::publish(SinkIdentity identity, Publication publication, PublishDone done) {
  if (!admit(done)) return;
  const std::scoped_lock lock(mutex_);
  const bool joins = open_ != nullptr && open_->identity == identity;
  if (!joins) {
    open_ = std::make_shared<Group>(std::move(identity));
    thread_->run([this, group = open_] { publish_group(group); });
  }
  open_->publications.push_back(std::move(publication));
  open_->done.push_back(std::move(done));
}

// On the thread.
void RedisSink::publish_group(const std::shared_ptr<Group>& group) {
  {
    const std::scoped_lock lock(mutex_);
    if (open_ == group) open_ = nullptr;
  }
  auto outcomes = writer_->publish(group->identity, group->publications);
  thread_->complete([this, outcomes = std::move(outcomes), done = std::move(group->done)]() mutable {
    calls_ -= done.size();
    for (size_t index = 0; index < done.size(); ++index) done[index](std::move(outcomes[index]));
  });
}

void RedisSink::end_round(SinkIdentity identity, RoundEnd end,
                          std::move_only_function<void(Result<PublishOutcome>)> done) {
  run<Result<PublishOutcome>>(
      [this, identity = std::move(identity), end = std::move(end)] { return writer_->end_round(identity, end); },
      std::move(done));
}

}  // namespace millrace
