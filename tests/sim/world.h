// World: a whole cluster in one thread under virtual time. It stands in for the machines, the threads, the clock and
// the network; real Master, Agent and Executor objects are put on its loops and notice no difference.
//
//   World world(seed);
//   SimProcess& process = world.add_process("executor-1");       // reached at process.endpoint()
//   SimLoop& loop = process.make_loop("control");                // the first loop is the network's
//   Messenger messenger(options, process.network(), loop, handler);
//   world.run_for(seconds(3));                                   // virtual time
//   EXPECT_TRUE(world.run_until([&] { return done; }, seconds(60)));
//   world.crash(process);                                        // then destroy the objects that lived on it
//
// One queue holds all that will happen, ordered by (virtual time, sequence). Each task takes no virtual time, but a
// posted one waits a little, by chance, so that loops interleave in many ways (the order on one loop is kept).
//
// Faults are on from the start; set_faults(false) begins a quiet phase in which nothing is lost, broken or slow any
// more (what is on its way still arrives late). Cuts are made and healed by cut() and heal(). World itself crashes
// nobody: the scenario does, by crash(), which drops the tasks and timers of the process' loops and tells its peers a
// little later by a broken link. A crashed process stays as an object until the World ends: its loops drop
// everything, its network is dead. A process of the same name, added later, takes its endpoint over. Objects that
// lived on a crashed process may be destroyed then or at any later time before the World.
//
// freeze() stops all loops of a process for a while, as SIGSTOP does: what was to happen on them happens afterwards.
//
// Everything is decided by the seed: random streams are separate by domain ("network", "tasks", ...), so that drawing
// more in one place does not change another. Every event is mixed into the trace hash; two runs of one seed have
// equal hashes. For that, whoever runs on a World must not let order depend on addresses or real time.
//
// Not a thread-safe class: one thread, one World.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/seams/clock.h"
#include "common/seams/network.h"
#include "common/seams/random.h"
#include "common/seams/task_loop.h"

namespace millrace {

class SimLoop;
class SimNetwork;
class SimProcess;
class World;

// A seeded stream of numbers (splitmix64).
class SimRandom final : public Random {
 public:
  explicit SimRandom(uint64_t seed) : state_(seed) {}
  uint64_t next() override;
  uint64_t below(uint64_t limit) { return next() % limit; }  // limit > 0
  bool chance(double probability) { return static_cast<double>(next() >> 11) * 0x1.0p-53 < probability; }
  Duration between(Duration least, Duration most);  // both included

 private:
  uint64_t state_;
};

// Probabilities are per frame where nothing else is said. Change them before or during a run.
struct SimFaults {
  double lose = 0.03;
  double repeat = 0.03;
  double reorder = 0.05;      // overtaken by later ones of its link
  double slow = 0.01;         // waits up to slowest
  double break_link = 0.002;  // the link breaks and takes what is on its way with it, or half of it
  double refuse = 0.1;        // a new link fails, per attempt
  Duration slowest = std::chrono::milliseconds(300);
  Duration latency_least = std::chrono::microseconds(30);
  Duration latency_most = std::chrono::milliseconds(3);

  // Nothing goes wrong, everything is quick: the quiet phase, and the network of the conformance suite.
  static SimFaults none();
};

// Virtual time from 1,000 s on; wall time starts at 2024-01-01.
class SimClock final : public Clock {
 public:
  explicit SimClock(const World& world) : world_(world) {}
  [[nodiscard]] MonotonicTime now() const override;
  [[nodiscard]] WallTime wall_now() const override;

 private:
  const World& world_;
};

// One loop of one process. on_loop() holds within its tasks, and for the test's own code between them.
class SimLoop final : public TaskLoop {
 public:
  SimLoop(World& world, SimProcess& process, std::string name, uint32_t id);

  void post(Task task) override;
  TimerId schedule(Duration delay, Task task) override;
  void cancel(TimerId timer) override;
  [[nodiscard]] bool on_loop() const override;

  [[nodiscard]] SimProcess& process() const { return process_; }
  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] uint32_t id() const { return id_; }  // in the order of making, over the whole World

 private:
  friend class World;

  World& world_;
  SimProcess& process_;
  const std::string name_;
  const uint32_t id_;
  SimRandom& random_;
  std::map<TimerId, Duration> timers_;  // when each fires
  Duration last_post_{};                // posted tasks keep their order
};

class SimProcess {
 public:
  SimProcess(World& world, std::string name, uint32_t id);
  ~SimProcess();

  SimLoop& make_loop(const std::string& name);
  // Lives on the first loop, which must have been made.
  Network& network();

  // Called by crash(), in the order of adding, before the tasks are dropped: fake disks forget what was not synced.
  void at_crash(TaskLoop::Task task) { at_crash_.push_back(std::move(task)); }

  [[nodiscard]] bool alive() const { return alive_; }
  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] uint32_t id() const { return id_; }  // of this life: in the order of adding
  [[nodiscard]] Endpoint endpoint() const { return {name_ + ":1"}; }

 private:
  friend class SimNetwork;
  friend class World;

  World& world_;
  const std::string name_;
  const uint32_t id_;
  bool alive_ = true;
  Duration frozen_until_{};
  std::vector<std::unique_ptr<SimLoop>> loops_;
  std::unique_ptr<SimNetwork> network_;
  std::vector<TaskLoop::Task> at_crash_;
};

class World {
 public:
  explicit World(uint64_t seed, SimFaults faults = {});
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  // CHECKs that no living process has the name.
  SimProcess& add_process(const std::string& name);
  // From the test's own code or a task of after(); not from a task of the process itself.
  void crash(SimProcess& process);

  // Nothing happens on its loops for this long; then all that was due does, in order.
  void freeze(SimProcess& process, Duration duration);

  // Runs events until this much virtual time has passed.
  void run_for(Duration duration);
  // Runs until the predicate holds, asked after each event. False: it did not within `limit` of virtual time.
  bool run_until(const std::function<bool()>& predicate, Duration limit);
  // Runs `task` after this time, on no loop and in no process: crashes, cuts, other acts of fate.
  void after(Duration delay, TaskLoop::Task task);

  void set_faults(bool on) { faults_on_ = on; }
  [[nodiscard]] SimFaults& faults() { return chosen_faults_; }  // when on
  [[nodiscard]] const SimFaults& current_faults() const { return faults_on_ ? chosen_faults_ : no_faults_; }

  // Frames from one name to another get lost from now on; new links fail by time-out, and present ones in either
  // direction break after a while, as heartbeats find out. By name: it holds for later processes of it too.
  void cut(const std::string& from, const std::string& to);
  void cut_both_ways(const std::string& one, const std::string& other);
  void heal();  // all cuts
  [[nodiscard]] bool is_cut(const std::string& from, const std::string& to) const { return cuts_.contains({from, to}); }

  // Sees each frame as its sender hands it over, once, and may alter it: to count what is said, and to plant bugs.
  using FrameTap = std::function<void(Frame& frame)>;
  void set_frame_tap(FrameTap tap) { frame_tap_ = std::move(tap); }
  [[nodiscard]] const FrameTap& frame_tap() const { return frame_tap_; }

  // What some loops and links take longer, for as long as it is set; each may be null.
  struct Slowness {
    std::function<Duration(const SimLoop& loop)> task;  // posted
    std::function<Duration(const std::string& from, const std::string& to)> frame;
  };
  [[nodiscard]] Slowness& slowness() { return slowness_; }

  [[nodiscard]] Duration now() const { return now_; }  // since the beginning
  // Sets all wall clocks forward, or back.
  void skew_wall(Duration by) { wall_skew_ += by; }
  [[nodiscard]] Duration wall_skew() const { return wall_skew_; }
  [[nodiscard]] Clock& clock() { return clock_; }
  // The stream of a domain; the same object each time.
  [[nodiscard]] SimRandom& random(const std::string& domain);
  [[nodiscard]] uint64_t seed() const { return seed_; }

  // Mixes a fact of the scenario into the trace: what a role decided, what a sink holds.
  void trace(std::string_view fact, uint64_t number = 0);
  [[nodiscard]] uint64_t trace_hash() const { return trace_; }
  [[nodiscard]] uint64_t events() const { return events_; }
  // With this on, every event is printed to stderr, for the replay of a seed.
  void print_trace(bool on) { print_trace_ = on; }

  // For the loops and networks of this folder.
  using EventId = std::pair<Duration, uint64_t>;  // when, and a sequence for those of one time
  EventId add_event(Duration delay, SimLoop* loop, const char* kind, TaskLoop::Task task);  // loop null: fate's
  void cancel_event(EventId id) { queue_.erase(id); }
  [[nodiscard]] SimProcess* living(const std::string& address) const;  // who listens there, or null
  [[nodiscard]] const SimLoop* current_loop() const { return current_loop_; }
  [[nodiscard]] bool running() const { return running_; }

 private:
  struct Event {
    SimLoop* loop;
    const char* kind;
    TaskLoop::Task task;
  };

  bool step(Duration until);

  const uint64_t seed_;
  SimFaults chosen_faults_;
  const SimFaults no_faults_ = SimFaults::none();
  bool faults_on_ = true;
  SimClock clock_{*this};
  Duration now_{};
  Duration wall_skew_{};
  uint64_t next_sequence_ = 1;
  uint64_t events_ = 0;
  uint64_t trace_ = 0;
  bool print_trace_ = false;
  FrameTap frame_tap_;
  Slowness slowness_;
  const SimLoop* current_loop_ = nullptr;
  bool running_ = false;
  uint32_t next_loop_ = 1;
  std::map<std::string, std::unique_ptr<SimRandom>> randoms_;
  std::set<std::pair<std::string, std::string>> cuts_;
  std::vector<std::unique_ptr<SimProcess>> processes_;
  std::map<EventId, Event> queue_;  // after processes_: tasks go first

  friend class SimLoop;
  friend class SimProcess;
};

}  // namespace millrace
