#include "tests/sim/world.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace millrace {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// Counts what a network says.
struct Listener : NetworkHandler {
  void on_link_up(LinkId) override { ++ups; }
  void on_link_down(LinkId, const std::string&) override { ++downs; }
  void on_frame(Frame frame, const std::string&) override { frames.emplace_back(frame.control.view()); }

  int ups = 0;
  int downs = 0;
  std::vector<std::string> frames;
};

TEST(World, RunsTimersInTheOrderOfVirtualTime) {
  World world(1);
  SimLoop& loop = world.add_process("one").make_loop("control");
  std::vector<int> order;
  loop.schedule(seconds(3600), [&] { order.push_back(3); });
  loop.schedule(seconds(1), [&] { order.push_back(1); });
  const auto cancelled = loop.schedule(seconds(2), [&] { order.push_back(2); });
  loop.cancel(cancelled);
  EXPECT_TRUE(world.run_until([&] { return order.size() == 2; }, seconds(4000)));
  EXPECT_EQ(order, (std::vector<int>{1, 3}));
  EXPECT_GE(world.now(), seconds(3600));
}

TEST(World, KeepsTheOrderOfPostsOnEachLoop) {
  World world(2);
  SimProcess& process = world.add_process("one");
  SimLoop& loop = process.make_loop("control");
  SimLoop& lane = process.make_loop("lane");
  std::vector<int> seen;
  for (int i = 0; i < 100; ++i) {
    loop.post([&, i] {
      EXPECT_TRUE(loop.on_loop());
      EXPECT_FALSE(lane.on_loop());
      seen.push_back(i);
    });
    lane.post([] {});
  }
  world.run_for(seconds(1));
  for (int i = 0; i < 100; ++i) EXPECT_EQ(seen.at(static_cast<size_t>(i)), i);
}

TEST(World, DropsTasksAndTimersOfACrashedProcessAndTellsItsPeers) {
  World world(3, SimFaults::none());
  SimProcess& one = world.add_process("one");
  SimProcess& two = world.add_process("two");
  one.make_loop("control");
  SimLoop& loop = two.make_loop("control");
  Listener at_one;
  Listener at_two;
  one.network().set_handler(&at_one);
  two.network().set_handler(&at_two);
  one.network().connect(two.endpoint());
  world.run_for(seconds(1));
  EXPECT_EQ(at_one.ups, 1);

  bool forgot = false;
  two.at_crash([&] { forgot = true; });
  loop.post([] { FAIL(); });
  loop.schedule(seconds(1), [] { FAIL(); });
  world.after(Duration(1), [&] { world.crash(two); });
  world.run_for(milliseconds(5));
  EXPECT_TRUE(forgot);
  EXPECT_EQ(at_one.downs, 1);
  loop.post([] { FAIL(); });
  world.run_for(seconds(5));
  EXPECT_EQ(world.add_process("two").endpoint(), two.endpoint());
}

TEST(World, LosesFramesOneWayWhenCutAndBreaksTheLinkAfterAWhile) {
  World world(4, SimFaults::none());
  SimProcess& one = world.add_process("one");
  SimProcess& two = world.add_process("two");
  Listener at_one;
  Listener at_two;
  one.make_loop("control");
  two.make_loop("control");
  one.network().set_handler(&at_one);
  two.network().set_handler(&at_two);
  const LinkId there = one.network().connect(two.endpoint());
  const LinkId back = two.network().connect(one.endpoint());
  world.run_for(seconds(1));
  world.cut("one", "two");
  EXPECT_TRUE(one.network().send(there, {SharedBuffer::of("lost"), {}}));
  EXPECT_TRUE(two.network().send(back, {SharedBuffer::of("arrives"), {}}));
  world.run_for(milliseconds(400));
  EXPECT_TRUE(at_two.frames.empty());
  EXPECT_EQ(at_one.frames.size(), 1);
  EXPECT_EQ(at_one.downs, 0);
  world.run_for(seconds(5));
  EXPECT_EQ(at_one.downs, 1);
  EXPECT_EQ(at_two.downs, 1);
  world.heal();
  one.network().connect(two.endpoint());
  world.run_for(seconds(1));
  EXPECT_EQ(at_one.ups, 2);
}

uint64_t run_of(uint64_t seed, bool extra_draws) {
  World world(seed);
  Listener listener;
  SimProcess& one = world.add_process("one");
  SimProcess& two = world.add_process("two");
  SimLoop& loop = one.make_loop("control");
  two.make_loop("control");
  two.network().set_handler(&listener);
  const LinkId link = one.network().connect(two.endpoint());
  std::function<void()> chatter = [&] {
    one.network().send(link, {SharedBuffer::of("hello"), {}});
    if (extra_draws) world.random("another domain").next();
    loop.schedule(milliseconds(1), [&] { chatter(); });
  };
  loop.post([&] { chatter(); });
  world.run_for(seconds(2));
  return world.trace_hash();
}

TEST(World, GivesTheSameTraceForTheSameSeed) {
  EXPECT_EQ(run_of(7, false), run_of(7, false));
  EXPECT_NE(run_of(7, false), run_of(8, false));
  EXPECT_EQ(run_of(7, false), run_of(7, true));
}

}  // namespace
}  // namespace millrace
