// BlockingOutput: an Output whose work blocks (a disk, a broker, a terminal, the job's own function) and is done on a
// thread of its own, one call after the other.
#pragma once

#include <memory>
#include <utility>

#include "adapters/worker_thread.h"
#include "common/seams/output.h"
#include "common/seams/task_loop.h"

namespace millrace {

// `Place` has claim(), release(), enter(part, generation) and append(const OutputBatch&), which give a Status; the
// thread uses it, and it is destroyed when that has ended. One that may block for long has an interrupt(), called from
// elsewhere. One that remembers nothing has no enter().
template <typename Place>
class BlockingOutput final : public Output {
 public:
  BlockingOutput(TaskLoop& loop, Place place) : place_(std::move(place)), thread_(loop, "output") {}
  ~BlockingOutput() override {
    if constexpr (requires { place_.interrupt(); }) place_.interrupt();
    thread_.stop();
  }
  BlockingOutput(const BlockingOutput&) = delete;
  BlockingOutput& operator=(const BlockingOutput&) = delete;

  void claim(Done done) override {
    run([this] { return place_.claim(); }, std::move(done));
  }
  void release(Done done) override {
    run([this] { return place_.release(); }, std::move(done));
  }
  void enter(int32_t part, Generation generation, Done done) override {
    if constexpr (requires { place_.enter(part, generation); }) {
      run([this, part, generation] { return place_.enter(part, generation); }, std::move(done));
    } else {
      done({});
    }
  }
  void append(OutputBatch batch, Done done) override {
    run([this, batch = std::move(batch)] { return place_.append(batch); }, std::move(done));
  }

 private:
  template <typename Work>
  void run(Work work, Done done) {
    thread_.run([this, work = std::move(work), done = std::move(done)]() mutable {
      thread_.complete([status = work(), done = std::move(done)]() mutable { done(std::move(status)); });
    });
  }

  Place place_;  // the thread's
  WorkerThread thread_;
};

}  // namespace millrace
