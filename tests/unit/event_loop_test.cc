#include "common/runtime/event_loop.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <memory>
#include <thread>
#include <vector>

namespace millrace {
namespace {

using std::chrono::milliseconds;

TEST(EventLoop, RunsTasksOfManyThreadsEachInItsOrder) {
  EventLoop loop("test");
  constexpr int kThreads = 4;
  constexpr int kTasks = 10'000;
  std::vector<int> seen(kThreads, 0);
  loop.start();
  std::vector<std::thread> threads;
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      for (int i = 0; i < kTasks; ++i) {
        loop.post([&, thread, i] {
          EXPECT_EQ(seen[thread], i);
          seen[thread] = i + 1;
        });
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_TRUE(loop.run_and_wait([&] { EXPECT_TRUE(loop.on_loop()); }));
  EXPECT_EQ(seen, std::vector<int>(kThreads, kTasks));
  EXPECT_FALSE(loop.on_loop());
}

TEST(EventLoop, RunsWhatWasPostedBeforeTheStart) {
  EventLoop loop("test");
  std::promise<void> ran;
  loop.post([&] { ran.set_value(); });
  loop.start();
  ran.get_future().wait();
}

TEST(EventLoop, FiresTimersInOrderAndNeverEarly) {
  EventLoop loop("test");
  loop.start();
  std::promise<void> done;
  std::vector<int> order;
  const auto start = std::chrono::steady_clock::now();
  loop.post([&] {
    loop.schedule(milliseconds(20), [&] {
      order.push_back(2);
      EXPECT_GE(std::chrono::steady_clock::now() - start, milliseconds(20));
      done.set_value();
    });
    loop.schedule(milliseconds(10), [&] { order.push_back(1); });
    const auto cancelled = loop.schedule(milliseconds(5), [&] { order.push_back(0); });
    loop.cancel(cancelled);
    loop.cancel(cancelled);
    loop.cancel(4711);
  });
  done.get_future().wait();
  EXPECT_EQ(order, (std::vector<int>{1, 2}));
}

TEST(EventLoop, FiresATimerWhileTasksKeepComing) {
  EventLoop loop("test");
  loop.start();
  std::promise<void> fired;
  std::atomic<bool> stop = false;
  loop.post([&] { loop.schedule(milliseconds(1), [&] { fired.set_value(); }); });
  std::function<void()> again = [&] {
    if (!stop) loop.post([&] { again(); });
  };
  loop.post([&] { again(); });
  fired.get_future().wait();
  stop = true;
  loop.stop();
  loop.join();
}

TEST(EventLoop, LetsTheQueueRunWhileATimerSetsItselfAgainAtOnce) {
  EventLoop loop("test");
  loop.start();
  std::function<void()> again = [&] { loop.schedule(Duration::zero(), [&] { again(); }); };
  loop.post([&] { again(); });
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(loop.run_and_wait([] {}));
  loop.stop();
  loop.join();
}

TEST(EventLoop, DestroysOnItsThreadWhatItDoesNotRun) {
  EventLoop loop("test");
  loop.start();
  std::atomic<int> destroyed_on_loop = 0;
  const auto holder = [&] {
    return std::shared_ptr<int>(new int(0), [&](const int* value) {
      delete value;
      destroyed_on_loop += loop.on_loop() ? 1 : 0;
    });
  };
  loop.post([&] {
    loop.schedule(std::chrono::hours(1), [kept = holder()] { FAIL(); });
    loop.stop();
  });
  loop.post([kept = holder()] { FAIL() << "ran after the stop"; });
  loop.join();
  loop.post([] { FAIL(); });
  EXPECT_FALSE(loop.run_and_wait([] { FAIL(); }));
  EXPECT_LE(1, destroyed_on_loop);
}

TEST(EventLoopDeathTest, TellsAQueueWithoutEnd) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EventLoop loop("test", 10);
  for (int i = 0; i < 10; ++i) loop.post([] {});
  EXPECT_DEATH(loop.post([] {}), "the queue of loop test has no end");
}

}  // namespace
}  // namespace millrace
