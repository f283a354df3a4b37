// LogQuestions: what a log's loop asks the log's thread. Thread-safe.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "common/seams/task_loop.h"

namespace millrace {

class LogQuestions {
 public:
  // `loop` outlives this. `alive` belongs to the loop: nothing is answered once it is false.
  LogQuestions(TaskLoop& loop, std::shared_ptr<const bool> alive) : loop_(loop), alive_(std::move(alive)) {}

  // The thread calls find(), if it comes to the question, and the loop done() with what that gives. The caller wakes
  // the thread.
  template <typename Find, typename Done>
  void ask(Find find, Done done) {
    const std::scoped_lock lock(mutex_);
    questions_.push_back([&loop = loop_, alive = alive_, find = std::move(find), done = std::move(done)]() mutable {
      loop.post([alive = std::move(alive), done = std::move(done), found = find()]() mutable {
        if (*alive) done(std::move(found));
      });
    });
  }

  // The thread answers all that were asked. False: there was none.
  bool answer() {
    std::vector<Question> questions;
    {
      const std::scoped_lock lock(mutex_);
      questions.swap(questions_);
    }
    for (Question& question : questions) question();
    return !questions.empty();
  }

 private:
  using Question = std::move_only_function<void()>;

  TaskLoop& loop_;
  const std::shared_ptr<const bool> alive_;
  std::mutex mutex_;
  std::vector<Question> questions_;  // guarded by mutex_
};

}  // namespace millrace
