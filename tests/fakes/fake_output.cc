#include "tests/fakes/fake_output.h"

#include <iterator>

namespace millrace {

Status FakeOutputPlace::enter(const OutputTarget& target, int32_t number, Generation generation) {
  if (failure) return std::unexpected(*failure);
  Part& part = parts_[{target.job, number}];
  if (generation < part.generation) {
    ++refused_;
    return fail(ErrorCode::kFenced, "a younger owner is there");
  }
  part.generation = generation;
  return {};
}

Status FakeOutputPlace::append(const OutputTarget& target, const OutputBatch& batch) {
  if (Status entered = enter(target, batch.part, batch.generation); !entered) return entered;
  Part& part = parts_[{target.job, batch.part}];
  const auto next = part.batches.lower_bound(batch.batch);
  const BatchId previous = next == part.batches.begin() ? BatchId(0) : std::prev(next)->first;
  if (batch.previous != previous) {
    breach_ = "batch " + std::to_string(batch.batch.value()) + " of part " + std::to_string(batch.part) +
              " is said to follow on " + std::to_string(batch.previous.value()) + ", and follows on " +
              std::to_string(previous.value());
  }
  if (batch.batch <= part.mark) {
    ++repeated_;
    const auto before = part.batches.find(batch.batch);
    if (before == part.batches.end() || before->second != *batch.bytes) {
      breach_ = "batch " + std::to_string(batch.batch.value()) + " of part " + std::to_string(batch.part) +
                " brings other bytes than before, or was left out then";
    }
    if (!remembers) part.batches[batch.batch] += *batch.bytes;
    return {};
  }
  part.mark = batch.batch;
  part.batches[batch.batch] = *batch.bytes;
  return {};
}

void FakeOutput::enter(int32_t part, Generation generation, Done done) {
  run([this, part, generation] { return place_->enter(target_, part, generation); }, std::move(done));
}

void FakeOutput::append(OutputBatch batch, Done done) {
  run([this, batch = std::move(batch)] { return place_->append(target_, batch); }, std::move(done));
}

// The work is done at some time in between; what is under way in a crash may be done or not.
void FakeOutput::run(std::move_only_function<Status()> work, Done done) {
  loop_.schedule(place_->timing.take(),
                 [alive = std::weak_ptr(alive_), this, work = std::move(work), done = std::move(done)]() mutable {
                   if (alive.expired()) return;
                   Status status = work();
                   const bool lost = status && place_->reply_is_lost && place_->reply_is_lost();
                   if (lost) status = fail(ErrorCode::kUnavailable, "the answer is lost");
                   answer(std::move(status), std::move(done));
                 });
}

void FakeOutput::answer(Status status, Done done) {
  loop_.schedule(place_->timing.take(),
                 [alive = std::weak_ptr(alive_), status = std::move(status), done = std::move(done)]() mutable {
                   if (!alive.expired()) done(std::move(status));
                 });
}

}  // namespace millrace
