// Messengers on a simulated network with all faults: every message of every session arrives once and in order,
// whatever is lost, repeated, reordered, slow, cut, broken or started anew. Each seed runs twice with equal traces.
//
// MILLRACE_SIM_SEED=N replays one seed and prints its trace; MILLRACE_SIM_SEEDS=N sets how many are run.
#include <glog/logging.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/runtime/messenger.h"
#include "tests/sim/world.h"

namespace millrace {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// A process that sends numbered messages to all it knows and checks those that come.
class Talker final : public MessengerHandler {
 public:
  Talker(World& world, const std::string& name)
      : world_(world), process_(world.add_process(name)), loop_(process_.make_loop("control")) {
    MessengerOptions options;
    options.self = ProcessId(world.random("ids").next_id());
    options.version = "test";
    self_ = options.self;
    messenger_ = std::make_unique<Messenger>(options, process_.network(), loop_, *this);
  }

  void connect(const Talker& other) { messenger_->connect(other.process_.endpoint()); }

  // Sends some messages now and goes on until stop_talking().
  void talk() {
    SimRandom& random = world_.random("talk");
    const uint64_t burst = random.chance(0.03) ? 100 : random.below(3);
    for (uint64_t i = 0; i < burst; ++i) {
      for (const auto& [peer, unused] : heard_) say(peer);
    }
    timer_ = loop_.schedule(random.between(milliseconds(1), milliseconds(250)), [this] { talk(); });
  }
  void stop_talking() { loop_.cancel(timer_); }
  void say(ProcessId peer) {
    wire::Envelope envelope;
    wire::Query query;
    query.id = ++said_[peer];
    envelope.body.__set_query(query);
    const bool with_bulk = said_[peer] % 3 == 0;
    const bool taken = messenger_->send(peer, std::move(envelope),
                                        with_bulk ? SharedBuffer::of(std::to_string(said_[peer])) : SharedBuffer());
    EXPECT_TRUE(taken);
  }
  void forget(ProcessId peer) {
    messenger_->forget(peer);
    heard_.erase(peer);
    said_.erase(peer);
    forgotten_ = peer;
  }

  [[nodiscard]] bool knows(const Talker& peer) const { return heard_.contains(peer.self_); }
  [[nodiscard]] bool has_heard_all_of(const Talker& peer) const {
    const auto heard = heard_.find(peer.self_);
    const auto said = peer.said_.find(self_);
    return heard != heard_.end() && heard->second == (said == peer.said_.end() ? 0 : said->second);
  }
  [[nodiscard]] ProcessId self() const { return self_; }
  [[nodiscard]] SimProcess& process() { return process_; }
  [[nodiscard]] uint64_t heard() const { return messages_; }
  [[nodiscard]] int refused() const { return refused_; }

  // MessengerHandler
  void on_peer_up(const PeerInfo& peer) override {
    EXPECT_FALSE(heard_.contains(peer.process)) << "up twice";
    EXPECT_NE(peer.process, forgotten_);
    heard_[peer.process] = 0;
    say(peer.process);
  }
  void on_peer_unreachable(const PeerInfo& peer, const std::string&) override {
    EXPECT_TRUE(heard_.contains(peer.process));
  }
  void on_refused(const Endpoint&, const std::string&) override { ++refused_; }
  void on_message(const PeerInfo& from, wire::Envelope envelope, SharedBuffer bulk) override {
    ASSERT_TRUE(heard_.contains(from.process));
    ASSERT_TRUE(loop_.on_loop());
    const int64_t id = envelope.body.query.id;
    ASSERT_EQ(id, heard_[from.process] + 1) << "out of order, lost or repeated";
    ASSERT_EQ(bulk.view(), id % 3 == 0 ? std::to_string(id) : "");
    heard_[from.process] = id;
    ++messages_;
  }

 private:
  World& world_;
  SimProcess& process_;
  SimLoop& loop_;
  ProcessId self_;
  std::unique_ptr<Messenger> messenger_;
  std::map<ProcessId, int64_t> heard_;  // newest number, by sender
  std::map<ProcessId, int64_t> said_;   // newest number, by receiver
  ProcessId forgotten_;
  TaskLoop::TimerId timer_ = 0;
  uint64_t messages_ = 0;
  int refused_ = 0;
};

struct Outcome {
  uint64_t trace;
  uint64_t messages;
  uint64_t events;
};

// Cuts, heals and lifts faults at random times.
void meddle(World& world, const std::vector<std::string>& names) {
  SimRandom& random = world.random("fate");
  for (int i = 0; i < 4; ++i) {
    const std::string one = names[random.below(names.size())];
    const std::string other = names[random.below(names.size())];
    const Duration at = random.between(Duration(1), seconds(4));
    if (one == other) continue;
    world.after(at, [&world, one, other, both = random.chance(0.5)] {
      both ? world.cut_both_ways(one, other) : world.cut(one, other);
    });
    world.after(at + random.between(Duration(1), seconds(3)), [&world] { world.heal(); });
  }
}

Outcome run(uint64_t seed, bool print) {
  World world(seed);
  world.print_trace(print);
  std::vector<std::unique_ptr<Talker>> talkers;
  for (const char* name : {"one", "two", "three"}) talkers.push_back(std::make_unique<Talker>(world, name));
  Talker& one = *talkers[0];
  Talker& two = *talkers[1];
  Talker& three = *talkers[2];
  one.connect(two);
  if (world.random("fate").chance(0.5)) two.connect(one);
  three.connect(one);
  two.connect(three);
  for (auto& talker : talkers) talker->talk();
  meddle(world, {"one", "two", "three"});

  // Half of the seeds: the third dies and another process takes its endpoint.
  std::unique_ptr<Talker> successor;
  if (world.random("fate").chance(0.5)) {
    world.run_for(world.random("fate").between(Duration(1), seconds(3)));
    world.crash(three.process());
    if (two.knows(three)) two.forget(three.self());
    world.run_for(world.random("fate").between(Duration(1), milliseconds(500)));
    successor = std::make_unique<Talker>(world, "three");
    successor->connect(one);
    successor->talk();
  }
  world.run_for(seconds(5));
  world.heal();
  world.set_faults(false);
  Talker& last = successor ? *successor : three;
  const std::vector<Talker*> living{&one, &two, &last};
  for (Talker* talker : living) talker->stop_talking();
  const bool complete = world.run_until(
      [&] {
        for (const Talker* a : living) {
          for (const Talker* b : living) {
            if (a != b && (!a->has_heard_all_of(*b))) return false;
          }
        }
        return true;
      },
      seconds(60));
  EXPECT_TRUE(complete) << "messages are missing";
  uint64_t messages = 0;
  for (const Talker* talker : living) {
    messages += talker->heard();
    EXPECT_EQ(talker->refused(), 0);
  }
  return {world.trace_hash(), messages, world.events()};
}

uint64_t number_from_environment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

TEST(MessengerSimulation, DeliversEveryMessageOnceAndInOrderThroughAllFaults) {
  FLAGS_minloglevel = google::GLOG_ERROR;  // dropped frames are many here
  if (const uint64_t seed = number_from_environment("MILLRACE_SIM_SEED", 0); seed != 0) {
    run(seed, true);
    return;
  }
  const uint64_t seeds = number_from_environment("MILLRACE_SIM_SEEDS", 300);
  uint64_t messages = 0;
  uint64_t events = 0;
  for (uint64_t seed = 1; seed <= seeds; ++seed) {
    SCOPED_TRACE("replay with MILLRACE_SIM_SEED=" + std::to_string(seed));
    const Outcome first = run(seed, false);
    const Outcome second = run(seed, false);
    ASSERT_EQ(first.trace, second.trace) << "not the same run";
    if (testing::Test::HasFailure()) return;
    messages += first.messages;
    events += first.events;
  }
  std::cout << "seeds: " << seeds << ", " << messages << " messages in " << events << " events\n";
}

}  // namespace
}  // namespace millrace
