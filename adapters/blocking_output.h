// BlockingOutput: an Output whose work blocks (a disk, a broker, a terminal, the job's own function) and is done on a
// thread of its own, one call after the other.
#pragma once

#include <memory>
#include <utility>

#include "adapters/worker_thread.h"
#include "common/seams/output.h"
#include "common/seams/task_loop.h"

namespace millrace {

// `Place` has claim(), release() and append(const OutputBatch&), which give a Status; it is made here and used and
// destroyed when the thread has ended.
template <typename Place>
class BlockingOutput final : public Output {
 public:
  BlockingOutput(TaskLoop& loop, Place place) : place_(std::move(place)), thread_(loop, "output") {}
  ~BlockingOutput() override { thread_.stop(); }
  BlockingOutput(const BlockingOutput&) = delete;
  BlockingOutput& operator=(const BlockingOutput&) = delete;

  void claim(Done done) override {
    run([this] { return place_.claim(); }, std::move(done));
  }
  void release(Done done) override {
    run([this] { return place_.release(); }, std::move(done));
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
