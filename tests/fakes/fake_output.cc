#include "tests/fakes/fake_output.h"

namespace millrace {

Status FakeOutputPlace::append(const OutputTarget& target, const OutputBatch& batch) {
  if (failure) return std::unexpected(*failure);
  Part& part = parts_[{target.job, batch.part}];
  if (batch.generation < part.generation) {
    ++refused_;
    return fail(ErrorCode::kFenced, "a younger owner is there");
  }
  part.generation = batch.generation;
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

// The work is done at some time in between; what is under way in a crash may be done or not.
void FakeOutput::append(OutputBatch batch, Done done) {
  loop_.schedule(place_->timing.take(),
                 [alive = std::weak_ptr(alive_), this, batch = std::move(batch), done = std::move(done)]() mutable {
                   if (alive.expired()) return;
                   Status status = place_->append(target_, batch);
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
