// NullSink: the sink of `none:`. It takes everything and keeps nothing; results are then seen by queries only.
#pragma once

#include <functional>
#include <memory>
#include <utility>

#include "common/seams/sink.h"
#include "common/seams/task_loop.h"

namespace millrace {

class NullSink : public Sink {
 public:
  explicit NullSink(TaskLoop& loop) : loop_(loop) {}

  void claim(SinkIdentity /*identity*/, bool /*take_over*/, std::move_only_function<void(Status)> done) override {
    answer(Status(), std::move(done));
  }
  void purge(SinkIdentity /*identity*/, std::move_only_function<void(Status)> done) override {
    answer(Status(), std::move(done));
  }
  void publish(SinkIdentity /*identity*/, Publication /*publication*/,
               std::move_only_function<void(Result<PublishOutcome>)> done) override {
    answer(Result<PublishOutcome>(PublishOutcome::kDone), std::move(done));
  }
  void end_round(SinkIdentity /*identity*/, RoundEnd /*end*/,
                 std::move_only_function<void(Result<PublishOutcome>)> done) override {
    answer(Result<PublishOutcome>(PublishOutcome::kDone), std::move(done));
  }

 private:
  struct Alive {};

  template <typename T>
  void answer(T result, std::move_only_function<void(T)> done) {
    loop_.post([alive = std::weak_ptr<Alive>(alive_), result = std::move(result), done = std::move(done)]() mutable {
      if (!alive.expired()) done(std::move(result));
    });
  }

  TaskLoop& loop_;                                                  // outlives this
  const std::shared_ptr<Alive> alive_ = std::make_shared<Alive>();  // answers are dropped once it is gone
};

}  // namespace millrace
