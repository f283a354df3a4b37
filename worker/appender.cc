#include "worker/appender.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "common/model/duration.h"
#include "worker/retry_pause.h"

namespace millrace {
namespace {

// Brokers forget who has committed nothing for a day, or a week.
constexpr Duration kEnterAgain = std::chrono::hours(1);

bool is_final(const Error& error) {
  return error.code == ErrorCode::kInvalid || error.code == ErrorCode::kCorrupt;
}

}  // namespace

Appender::Appender(TaskLoop& loop, std::vector<Named> outputs, Hooks hooks)
    : loop_(loop), outputs_(std::move(outputs)), hooks_(std::move(hooks)) {
  if (!outputs_.empty()) loop_.schedule(kEnterAgain, lifetime_.guard([this] { enter_all(); }));
}

void Appender::assign(const std::set<OwnedState>& owned) {
  held_.clear();
  abandoned_ = BatchId(0);
  for (const auto& [state, part] : parts_) {
    if (owned.contains(state)) continue;
    for (const Named& output : outputs_) note_trouble(output.name, state, "");
  }
  std::erase_if(parts_, [&owned](const auto& entry) { return !owned.contains(entry.first); });
  const std::set<OwnedState> before = std::exchange(owned_, owned);
  for (const OwnedState& state : owned_) {
    if (!before.contains(state)) enter(state);
  }
}

// What is in the way is told by the first append, unless it is in the way for good.
void Appender::enter(const OwnedState& state) {
  if (!hooks_.may_append()) return;
  for (const Named& named : outputs_) {
    if (state.partition.value() >= named.parts) continue;
    named.output->enter(state.partition.value(), state.generation,
                        lifetime_.guard([this, state, &name = named.name](const Status& status) {
                          if (status || !is_final(status.error()) || !owned_.contains(state)) return;
                          hooks_.failed({status.error().code, "output '" + name + "': " + status.error().message});
                        }));
  }
}

void Appender::enter_all() {
  for (const OwnedState& state : owned_) enter(state);
  loop_.schedule(kEnterAgain, lifetime_.guard([this] { enter_all(); }));
}

void Appender::add(AppendShare share) {
  const OwnedState state = share.state;
  Part& part = parts_[state];
  part.waiting.push_back(std::make_shared<const AppendShare>(std::move(share)));
  ++part.added;
  pump();
}

void Appender::when_appended(const std::vector<OwnedState>& states, BatchId checkpoint,
                             std::move_only_function<void()> go_on) {
  if (checkpoint <= abandoned_) return;
  std::erase_if(held_, [checkpoint](const Held& held) { return held.checkpoint < checkpoint; });
  Held held{checkpoint, {}, std::move(go_on)};
  for (const OwnedState& state : states) {
    const auto part = parts_.find(state);
    if (part != parts_.end() && part->second.settled < part->second.added) held.until[state] = part->second.added;
  }
  if (held.until.empty()) return held.go_on();
  held_.push_back(std::move(held));
}

void Appender::abandon_checkpoint(BatchId batch) {
  abandoned_ = std::max(abandoned_, batch);
  std::erase_if(held_, [batch](const Held& held) { return held.checkpoint <= batch; });
}

bool Appender::is_behind() const {
  return std::ranges::any_of(parts_, [](const auto& entry) { return !entry.second.waiting.empty(); });
}

size_t Appender::waiting() const {
  size_t batches = 0;
  for (const auto& [state, part] : parts_) batches += part.waiting.size();
  return batches;
}

void Appender::pump() {
  if (!hooks_.may_append()) return;
  for (auto& [state, part] : parts_) {
    if (!part.waiting.empty() && !part.pausing && !under_way_.contains(state.partition)) append(state, part);
  }
}

void Appender::append(const OwnedState& state, Part& part) {
  under_way_.insert(state.partition);
  const std::shared_ptr<const AppendShare> share = part.waiting.front();
  const AppendShare::Records& records = share->records[part.next];
  OutputBatch batch;
  batch.part = state.partition.value();
  batch.generation = state.generation;
  batch.batch = share->batch;
  batch.time_ms = share->time_ms;
  batch.records = records.count;
  batch.bytes = records.bytes;
  batch.previous = records.previous;
  outputs_.at(records.output)
      .output->append(std::move(batch), lifetime_.guard([this, state, share](const Status& status) {
        on_appended(state, share, status);
      }));
}

void Appender::on_appended(const OwnedState& state, const std::shared_ptr<const AppendShare>& share,
                           const Status& status) {
  under_way_.erase(state.partition);
  if (const auto known = parts_.find(state); known != parts_.end()) known->second.under_way = {};
  const auto found = parts_.find(state);
  // Another one owns it now.
  if (found == parts_.end() || found->second.waiting.empty() || found->second.waiting.front() != share) return pump();
  Part& part = found->second;
  const std::string& output = outputs_[share->records[part.next].output].name;
  if (!status && is_final(status.error())) {
    part.pausing = true;  // for good
    return hooks_.failed(
        {status.error().code,
         "output '" + output + "', batch " + std::to_string(share->batch.value()) + ": " + status.error().message});
  }
  if (!status) return retry_later(state, part, output, status.error());
  if (part.pause != Duration{} || part.told) note_trouble(output, state, "");
  part.pause = Duration{};
  part.told = false;
  if (++part.next == share->records.size()) settle(state, part);
  pump();
}

void Appender::look(Duration passed, Duration patience) {
  for (auto& [state, part] : parts_) {
    if (part.waiting.empty() || !under_way_.contains(state.partition)) continue;
    part.under_way += passed;
    if (part.told || patience == Duration{} || part.under_way < patience) continue;
    part.told = true;
    const AppendShare& share = *part.waiting.front();
    const std::string& output = outputs_[share.records[part.next].output].name;
    note_trouble(output, state,
                 "output '" + output + "' has not taken batch " + std::to_string(share.batch.value()) +
                     " for more than " + duration_text_ms(to_ms(patience)) +
                     ", and later ones wait; see what its function, or its place, waits for");
  }
}

void Appender::settle(const OwnedState& state, Part& part) {
  const BatchId batch = part.waiting.front()->batch;
  part.waiting.pop_front();
  part.next = 0;
  ++part.settled;
  hooks_.settled(state, batch);
  release();
}

void Appender::retry_later(const OwnedState& state, Part& part, const std::string& output, const Error& error) {
  note_trouble(output, state, "output '" + output + "' does not take records: " + error.message);
  part.pausing = true;
  part.pause = longer_pause(part.pause);
  loop_.schedule(part.pause, lifetime_.guard([this, state] {
    const auto found = parts_.find(state);
    if (found == parts_.end()) return;
    found->second.pausing = false;
    pump();
  }));
}

// Its parts may be in trouble one by one; people see one of them.
void Appender::note_trouble(const std::string& output, const OwnedState& state, const std::string& what) {
  auto& of_output = troubles_[output];
  const std::string before = of_output.empty() ? "" : of_output.begin()->second;
  if (what.empty()) {
    of_output.erase(state);
  } else {
    of_output[state] = what;
  }
  const std::string now = of_output.empty() ? "" : of_output.begin()->second;
  if (now != before) hooks_.trouble(output, now);
}

bool Appender::is_ready(const Held& held) const {
  return std::ranges::all_of(held.until, [this](const auto& entry) {
    const auto part = parts_.find(entry.first);
    return part == parts_.end() || part->second.settled >= entry.second;
  });
}

// In the order in which they came.
void Appender::release() {
  std::vector<std::move_only_function<void()>> ready;
  for (auto held = held_.begin(); held != held_.end();) {
    if (!is_ready(*held)) {
      ++held;
      continue;
    }
    ready.push_back(std::move(held->go_on));
    held = held_.erase(held);
  }
  for (auto& go_on : ready) go_on();
}

}  // namespace millrace
