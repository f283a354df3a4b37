// FakeOutput: an Output over a FakeOutputPlace, which outlives the processes: keeps what was appended, and says when
// something comes that must not.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "common/seams/output.h"
#include "common/seams/task_loop.h"
#include "tests/fakes/fake_timing.h"

namespace millrace {

class FakeOutputPlace {
 public:
  struct Part {
    Generation generation;
    BatchId mark;
    std::map<BatchId, std::string> batches;  // what each has appended
  };
  using Key = std::pair<JobId, int32_t>;  // job and part

  // Faults.
  FakeTiming timing;
  std::optional<Error> failure;         // while set, every request fails with it and has no effect
  std::function<bool()> reply_is_lost;  // the request is carried out, its sender hears kUnavailable
  bool remembers = true;                // false: a place that appends what it has already

  // What a reader sees.
  [[nodiscard]] const std::map<Key, Part>& parts() const { return parts_; }
  [[nodiscard]] const std::string& breach() const { return breach_; }
  [[nodiscard]] uint64_t repeated() const { return repeated_; }
  [[nodiscard]] uint64_t refused() const { return refused_; }

  Status enter(const OutputTarget& target, int32_t part, Generation generation);
  Status append(const OutputTarget& target, const OutputBatch& batch);

 private:
  std::map<Key, Part> parts_;
  std::string breach_;
  uint64_t repeated_ = 0;
  uint64_t refused_ = 0;
};

class FakeOutput final : public Output {
 public:
  FakeOutput(TaskLoop& loop, std::shared_ptr<FakeOutputPlace> place, OutputTarget target)
      : loop_(loop), place_(std::move(place)), target_(std::move(target)) {}

  void claim(Done done) override { answer({}, std::move(done)); }
  void release(Done done) override { answer({}, std::move(done)); }
  void enter(int32_t part, Generation generation, Done done) override;
  void append(OutputBatch batch, Done done) override;

 private:
  void run(std::move_only_function<Status()> work, Done done);
  void answer(Status status, Done done);

  TaskLoop& loop_;  // outlives this
  const std::shared_ptr<FakeOutputPlace> place_;
  const OutputTarget target_;
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace millrace
