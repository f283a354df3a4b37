#include "tests/sim/world.h"

#include <xxhash.h>

#include <algorithm>
#include <iostream>

#include "common/base/check.h"
#include "tests/sim/sim_network.h"

namespace millrace {
namespace {

constexpr Duration kStart = std::chrono::seconds(1000);
constexpr int64_t kWallStartMs = 1'704'067'200'000;
// How long a posted task waits, and how late a timer is.
constexpr Duration kMostPostDelay = std::chrono::microseconds(20);
constexpr Duration kMostTimerDelay = std::chrono::microseconds(50);

uint64_t mix(uint64_t value) {
  value += 0x9e3779b97f4a7c15;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
  value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
  return value ^ (value >> 31);
}

}  // namespace

uint64_t SimRandom::next() {
  const uint64_t value = mix(state_);
  state_ += 0x9e3779b97f4a7c15;
  return value;
}

Duration SimRandom::between(Duration least, Duration most) {
  return least + Duration(static_cast<int64_t>(below(static_cast<uint64_t>((most - least).count()) + 1)));
}

SimFaults SimFaults::none() {
  return {.lose = 0,
          .repeat = 0,
          .reorder = 0,
          .slow = 0,
          .break_link = 0,
          .refuse = 0,
          .slowest = {},
          .latency_least = std::chrono::microseconds(20),
          .latency_most = std::chrono::microseconds(100)};
}

MonotonicTime SimClock::now() const {
  return MonotonicTime(kStart + world_.now());
}
WallTime SimClock::wall_now() const {
  return {kWallStartMs + to_ms(world_.now() + world_.wall_skew())};
}

SimLoop::SimLoop(World& world, SimProcess& process, std::string name, uint32_t id)
    : world_(world), process_(process), name_(std::move(name)), id_(id), random_(world.random("tasks")) {}

void SimLoop::post(Task task) {
  if (!process_.alive()) return;
  Duration delay = random_.between(Duration(1), kMostPostDelay);
  if (world_.slowness().task) delay += world_.slowness().task(*this);
  last_post_ = std::max(last_post_, world_.now() + delay);
  world_.add_event(last_post_ - world_.now(), this, "task", std::move(task));
}

TaskLoop::TimerId SimLoop::schedule(Duration delay, Task task) {
  CHECK(on_loop()) << "timer of loop " << name_ << " set from another loop";
  if (!process_.alive()) return 1;
  delay = std::max(delay, Duration::zero()) + random_.between(Duration(1), kMostTimerDelay);
  const TimerId id = world_.next_sequence_;
  timers_.emplace(id, world_.now() + delay);
  world_.add_event(delay, this, "timer", [this, id, body = std::move(task)]() mutable {
    timers_.erase(id);
    body();
  });
  return id;
}

void SimLoop::cancel(TimerId timer) {
  CHECK(on_loop() || !process_.alive()) << "timer of loop " << name_ << " cancelled from another loop";
  const auto found = timers_.find(timer);
  if (found == timers_.end()) return;
  const World::EventId event{found->second, timer};
  timers_.erase(found);
  world_.cancel_event(event);
}

bool SimLoop::on_loop() const {
  return !world_.running() || world_.current_loop() == this;
}

SimProcess::SimProcess(World& world, std::string name, uint32_t id) : world_(world), name_(std::move(name)), id_(id) {}

SimProcess::~SimProcess() = default;

SimLoop& SimProcess::make_loop(const std::string& name) {
  loops_.push_back(std::make_unique<SimLoop>(world_, *this, name, world_.next_loop_++));
  return *loops_.back();
}

Network& SimProcess::network() {
  CHECK(!loops_.empty()) << "make the loop of " << name_ << " first";
  if (network_ == nullptr) network_ = std::make_unique<SimNetwork>(world_, *this, *loops_.front());
  return *network_;
}

World::World(uint64_t seed, SimFaults faults) : seed_(seed), chosen_faults_(faults) {}

World::~World() {
  // One by one: what a task owned may cancel timers as it goes.
  while (!queue_.empty()) queue_.extract(queue_.begin());
}

SimProcess& World::add_process(const std::string& name) {
  CHECK(living(name + ":1") == nullptr) << name << " is alive";
  const auto id = static_cast<uint32_t>(processes_.size() + 1);
  processes_.push_back(std::make_unique<SimProcess>(*this, name, id));
  trace("start " + name, id);
  return *processes_.back();
}

void World::crash(SimProcess& process) {
  if (!process.alive()) return;
  CHECK(current_loop_ == nullptr || &current_loop_->process() != &process) << "use after() to crash " << process.name();
  trace("crash " + process.name(), process.id());
  process.alive_ = false;
  for (auto& task : process.at_crash_) task();
  process.at_crash_.clear();
  std::vector<TaskLoop::Task> dropped;  // destroyed when the queue is whole again
  for (auto event = queue_.begin(); event != queue_.end();) {
    if (event->second.loop == nullptr || &event->second.loop->process() != &process) {
      ++event;
      continue;
    }
    dropped.push_back(std::move(event->second.task));
    event = queue_.erase(event);
  }
  for (auto& loop : process.loops_) loop->timers_.clear();
  for (const auto& other : processes_) {
    if (other->alive() && other->network_ != nullptr) other->network_->on_crash_of(process);
  }
}

void World::freeze(SimProcess& process, Duration duration) {
  trace("freeze " + process.name(), static_cast<uint64_t>(duration.count()));
  process.frozen_until_ = std::max(process.frozen_until_, now_ + duration);
}

SimProcess* World::living(const std::string& address) const {
  for (const auto& process : processes_) {
    if (process->alive() && process->endpoint().address == address) return process.get();
  }
  return nullptr;
}

World::EventId World::add_event(Duration delay, SimLoop* loop, const char* kind, TaskLoop::Task task) {
  const EventId id{now_ + delay, next_sequence_++};
  queue_.emplace(id, Event{loop, kind, std::move(task)});
  return id;
}

void World::after(Duration delay, TaskLoop::Task task) {
  add_event(delay, nullptr, "fate", std::move(task));
}

// Runs the next event if there is one up to this time.
bool World::step(Duration until) {
  if (queue_.empty() || queue_.begin()->first.first > until) return false;
  auto first = queue_.begin();
  const EventId id = first->first;
  Event event = std::move(first->second);
  queue_.erase(first);
  now_ = id.first;
  if (event.loop != nullptr && event.loop->process().frozen_until_ > now_) {
    const Duration thaw = event.loop->process().frozen_until_;
    const auto timer = event.loop->timers_.find(id.second);
    if (timer != event.loop->timers_.end()) timer->second = thaw;
    queue_.emplace(EventId{thaw, id.second}, std::move(event));
    return true;
  }
  ++events_;
  trace(event.kind, event.loop == nullptr ? 0 : event.loop->id());
  current_loop_ = event.loop;
  running_ = event.loop != nullptr;
  event.task();
  event.task = nullptr;
  current_loop_ = nullptr;
  running_ = false;
  return true;
}

void World::run_for(Duration duration) {
  const Duration until = now_ + duration;
  while (step(until)) {
  }
  now_ = until;
}

bool World::run_until(const std::function<bool()>& predicate, Duration limit) {
  const Duration until = now_ + limit;
  while (!predicate()) {
    if (!step(until)) {
      now_ = until;
      return predicate();
    }
  }
  return true;
}

void World::cut(const std::string& from, const std::string& to) {
  trace("cut " + from + " " + to);
  cuts_.emplace(from, to);
  for (const auto& process : processes_) {
    if (process->alive() && process->network_ != nullptr) process->network_->on_cut();
  }
}

void World::cut_both_ways(const std::string& one, const std::string& other) {
  cut(one, other);
  cut(other, one);
}

void World::heal() {
  trace("heal");
  cuts_.clear();
}

SimRandom& World::random(const std::string& domain) {
  auto& random = randoms_[domain];
  if (random == nullptr) {
    random = std::make_unique<SimRandom>(mix(seed_ ^ XXH3_64bits(domain.data(), domain.size())));
  }
  return *random;
}

void World::trace(std::string_view fact, uint64_t number) {
  const uint64_t seen = XXH3_64bits_withSeed(fact.data(), fact.size(), number);
  trace_ = mix(trace_ ^ mix(seen ^ static_cast<uint64_t>(now_.count())));
  if (print_trace_) {
    std::cerr << "sim " << now_.count() / 1000 << "us " << fact << " " << number << " " << std::hex << trace_
              << std::dec << "\n";
  }
}

}  // namespace millrace
