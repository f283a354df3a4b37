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

template <typename T, typename Work>
void RedisSink::run(Work work, std::move_only_function<void(T)> done) {
  if (thread_->waiting() >= max_calls_) {
    thread_->complete([done = std::move(done)]() mutable {
      done(fail(ErrorCode::kUnavailable, "too many calls wait for Redis; it is too slow or away"));
    });
    return;
  }
  thread_->run([this, work = std::move(work), done = std::move(done)]() mutable {
    thread_->complete([result = work(), done = std::move(done)]() mutable { done(std::move(result)); });
  });
}

void RedisSink::claim(SinkIdentity identity, bool take_over, std::move_only_function<void(Status)> done) {
  run<Status>([this, identity = std::move(identity), take_over] { return writer_->claim(identity, take_over); },
              std::move(done));
}

void RedisSink::purge(SinkIdentity identity, std::move_only_function<void(Status)> done) {
  run<Status>([this, identity = std::move(identity)] { return writer_->purge(identity); }, std::move(done));
}

void RedisSink::publish(SinkIdentity identity, Publication publication,
                        std::move_only_function<void(Result<PublishOutcome>)> done) {
  run<Result<PublishOutcome>>(
      [this, identity = std::move(identity), publication = std::move(publication)] {
        return writer_->publish(identity, publication);
      },
      std::move(done));
}

void RedisSink::end_round(SinkIdentity identity, RoundEnd end,
                          std::move_only_function<void(Result<PublishOutcome>)> done) {
  run<Result<PublishOutcome>>(
      [this, identity = std::move(identity), end = std::move(end)] { return writer_->end_round(identity, end); },
      std::move(done));
}

}  // namespace millrace
