#include "worker/lane_group.h"

#include <algorithm>
#include <set>

namespace millrace {
namespace {

// The lane's side of the answers: posts each to the executor's loop. `Post` wraps it so that it is skipped once the
// executor is gone.
class Outlet final : public LaneHandler {
 public:
  using Answer = std::move_only_function<void(LaneHandler&)>;
  explicit Outlet(std::function<void(Answer)> post) : post_(std::move(post)) {}

  void on_opened(size_t lane, Result<std::optional<LogDescription>> log) override {
    post_([lane, log = std::move(log)](LaneHandler& to) mutable { to.on_opened(lane, std::move(log)); });
  }
  void on_fetched(Stamp stamp, wire::FetchedPartition fetched) override {
    post_([stamp, fetched = std::move(fetched)](LaneHandler& to) { to.on_fetched(stamp, fetched); });
  }
  void on_mapped(Stamp stamp, MappedRange mapped) override {
    post_([stamp, mapped = std::move(mapped)](LaneHandler& to) mutable { to.on_mapped(stamp, std::move(mapped)); });
  }
  void on_applied(Stamp stamp, LaneApplied applied) override {
    post_([stamp, applied = std::move(applied)](LaneHandler& to) mutable { to.on_applied(stamp, std::move(applied)); });
  }
  void on_emitted(Stamp stamp, LevelBlocks blocks) override {
    post_([stamp, blocks = std::move(blocks)](LaneHandler& to) mutable { to.on_emitted(stamp, std::move(blocks)); });
  }
  void on_appended(AppendShare share) override {
    post_([share = std::move(share)](LaneHandler& to) mutable { to.on_appended(std::move(share)); });
  }
  void on_snapshot(Stamp stamp, Snapshot snapshot) override {
    post_([stamp, snapshot = std::move(snapshot)](LaneHandler& to) mutable {
      to.on_snapshot(stamp, std::move(snapshot));
    });
  }
  void on_rank(Stamp stamp, RankShare share) override {
    post_([stamp, share = std::move(share)](LaneHandler& to) mutable { to.on_rank(stamp, std::move(share)); });
  }
  void on_frozen(Stamp stamp, FrozenShare share) override {
    post_([stamp, share = std::move(share)](LaneHandler& to) mutable { to.on_frozen(stamp, std::move(share)); });
  }
  void on_restored(uint64_t ticket) override {
    post_([ticket](LaneHandler& to) { to.on_restored(ticket); });
  }
  void on_answer(LaneAnswer answer) override {
    post_([answer = std::move(answer)](LaneHandler& to) mutable { to.on_answer(std::move(answer)); });
  }
  void on_log_trouble(LogPartition partition, std::optional<Error> error) override {
    post_([partition, error = std::move(error)](LaneHandler& to) { to.on_log_trouble(partition, error); });
  }
  void on_failed(Error error) override {
    post_([error = std::move(error)](LaneHandler& to) { to.on_failed(error); });
  }

 private:
  const std::function<void(Answer)> post_;
};

}  // namespace

LaneGroup::LaneGroup(TaskLoop& own, const Clock& clock, std::vector<LaneSeams> seams, LaneHandler& answers,
                     const wire::JobSpec& spec, std::shared_ptr<const Job> job) {
  for (size_t index = 0; index < seams.size(); ++index) {
    TaskLoop& loop = *seams[index].loop;
    // The guard is made here, on the executor's loop, and checked there; the lane's loop only passes it on.
    auto deliver = lifetime_.guard([&answers](Outlet::Answer answer) { answer(answers); });
    auto outlet = std::make_unique<Outlet>([&own, deliver](Outlet::Answer answer) {
      own.post([deliver, answer = std::move(answer)]() mutable { deliver(std::move(answer)); });
    });
    auto activity = std::make_shared<LaneActivity>();
    auto figures = std::make_shared<LaneFigures>();
    Lane::Deps deps{loop,     clock,   std::move(seams[index].make_log), job, std::move(outlet),
                    activity, figures, seams[index].freeze_keys_per_step};
    lanes_.push_back({&loop, std::make_shared<Lane>(Lane::Options{index, spec}, std::move(deps)), std::move(activity),
                      std::move(figures)});
  }
}

LaneGroup::~LaneGroup() {
  for (Placed& placed : lanes_) placed.loop->post([lane = std::move(placed.lane)] {});
}

void LaneGroup::open(bool describe) {
  for (size_t lane = 0; lane < lanes_.size(); ++lane) {
    call(lane, [describe = describe && lane == 0](Lane& to) { to.open(describe); });
  }
}

void LaneGroup::place_states(const std::vector<OwnedState>& states) {
  const std::set<OwnedState> owned(states.begin(), states.end());
  std::erase_if(states_, [&owned](const auto& entry) { return !owned.contains(entry.first); });
  std::vector<size_t> load(lanes_.size());
  for (const auto& [state, lane] : states_) ++load[lane];
  for (const OwnedState& state : owned) {
    if (states_.contains(state)) continue;
    const auto lane = static_cast<size_t>(std::ranges::min_element(load) - load.begin());
    states_[state] = lane;
    ++load[lane];
  }
}

size_t LaneGroup::place_log(LogPartition partition) {
  if (const auto known = logs_.find(partition); known != logs_.end()) return known->second;
  std::vector<size_t> load(lanes_.size());
  for (const auto& [log, lane] : logs_) ++load[lane];
  const auto lane = static_cast<size_t>(std::ranges::min_element(load) - load.begin());
  logs_[partition] = lane;
  return lane;
}

void LaneGroup::assign(const LaneAssignment& shares) {
  place_states(shares.states);
  std::vector<LaneAssignment> by_lane(lanes_.size(), shares);
  for (LaneAssignment& assignment : by_lane) {
    assignment.logs.clear();
    assignment.states.clear();
  }
  for (const LaneAssignment::LogShare& log : shares.logs) by_lane[place_log(log.partition)].logs.push_back(log);
  for (const auto& [state, lane] : states_) by_lane[lane].states.push_back(state);
  for (size_t lane = 0; lane < lanes_.size(); ++lane) {
    call(lane, [assignment = std::move(by_lane[lane])](Lane& to) { to.assign(assignment); });
  }
}

void LaneGroup::map(std::vector<MapRequest> requests) {
  std::map<size_t, std::vector<MapRequest>> by_lane;
  for (MapRequest& request : requests) by_lane[place_log(request.partition)].push_back(std::move(request));
  for (auto& [lane, part] : by_lane) {
    call(lane, [part = std::move(part)](Lane& to) mutable { to.map(std::move(part)); });
  }
}

size_t LaneGroup::lane_of(StatePartition partition) const {
  const auto state = states_.lower_bound({partition, Generation(INT64_MIN)});
  return state != states_.end() && state->first.partition == partition ? state->second : kNoLane;
}

}  // namespace millrace
