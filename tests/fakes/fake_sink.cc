#include "tests/fakes/fake_sink.h"

#include <algorithm>
#include <set>
#include <utility>

namespace millrace {

void FakeSinkServer::record(Event event) {
  history_.push_back(std::move(event));
  if (on_event) on_event(history_.back());
}

void FakeSinkServer::lose_all_data() {
  jobs_.clear();
  record({.what = What::kDataLoss});
}

const FakeSinkServer::Keys* FakeSinkServer::find(const std::string& job_name) const {
  const auto keys = jobs_.find(job_name);
  return keys == jobs_.end() ? nullptr : &keys->second;
}

void FakeSinkServer::put_foreign(const std::string& job_name, const std::string& key, const std::string& text) {
  jobs_[job_name].tables["counts"].values[key] = text;
}

void FakeSinkServer::lose_values(const std::string& job_name, const std::string& table) {
  const auto keys = jobs_.find(job_name);
  if (keys == jobs_.end()) return;
  keys->second.tables[table].values.clear();
  record({.what = What::kDataLoss});
}

void FakeSinkServer::lose_fence(const std::string& job_name) {
  const auto keys = jobs_.find(job_name);
  if (keys == jobs_.end()) return;
  const auto is_empty = [](const auto& table) { return table.second.values.empty() && table.second.rank.empty(); };
  std::erase_if(keys->second.tables, is_empty);
  for (auto& [name, table] : keys->second.tables) table.size = 0;
  keys->second = {.tables = std::move(keys->second.tables), .status = std::move(keys->second.status)};
  if (keys->second.tables.empty() && keys->second.status.empty()) jobs_.erase(keys);
  record({.what = What::kDataLoss});
}

bool FakeSinkServer::is_whole(const Keys& keys, const SinkLayout& layout) {
  return std::ranges::all_of(layout, [&keys](const TablePlan& plan) {
    const Table& table = keys.table(plan.name);
    return table.values.size() == table.size && (!plan.rank_all || table.rank.size() == table.size);
  });
}

Status FakeSinkServer::claim(const SinkIdentity& identity, bool take_over) {
  if (failure) return std::unexpected(*failure);
  const auto held = jobs_.find(identity.job_name);
  if (held != jobs_.end() && held->second.job != identity.job) {
    const auto owner = held->second.status.find("job_id");
    const bool own = held->second.job == JobId() && owner != held->second.status.end() &&
                     owner->second == to_string(identity.job);  // it has lost its fence
    if (!take_over && !own) {
      return fail(ErrorCode::kExists, "the sink holds keys {" + identity.job_name + "}:* of another job (" +
                                          to_string(held->second.job) + "); submit with --take-over");
    }
    jobs_.erase(held);
  } else if (held != jobs_.end() && held->second.incarnation > identity.incarnation) {
    return fail(ErrorCode::kFenced, "{" + identity.job_name + "}:* belongs to a younger incarnation of the job");
  } else if (held != jobs_.end() && !is_whole(held->second, identity.layout)) {
    jobs_.erase(held);
  }
  Keys& keys = jobs_[identity.job_name];
  keys.job = identity.job;
  keys.incarnation = identity.incarnation;
  std::erase_if(keys.tables, [&identity](const auto& table) {
    return std::ranges::find(identity.layout, table.first, &TablePlan::name) == identity.layout.end();
  });
  record(
      {.what = What::kClaim, .job_name = identity.job_name, .job = identity.job, .incarnation = identity.incarnation});
  return {};
}

Status FakeSinkServer::purge(const SinkIdentity& identity) {
  if (failure) return std::unexpected(*failure);
  const auto held = jobs_.find(identity.job_name);
  if (held == jobs_.end() || held->second.job != identity.job) return {};
  jobs_.erase(held);
  record({.what = What::kPurge, .job_name = identity.job_name, .job = identity.job});
  return {};
}

// The answer to whom the keys do not belong, or none.
std::optional<Result<PublishOutcome>> FakeSinkServer::refuse_identity(const SinkIdentity& identity) const {
  if (failure) return std::unexpected(*failure);
  const Keys* keys = find(identity.job_name);
  if (keys == nullptr || keys->job == JobId()) return PublishOutcome::kDataLost;
  if (keys->job != identity.job) {
    return fail(ErrorCode::kExists, "the sink holds keys {" + identity.job_name + "}:* of another job");
  }
  if (keys->incarnation > identity.incarnation) return PublishOutcome::kFenced;
  if (keys->incarnation < identity.incarnation) return PublishOutcome::kDataLost;
  return std::nullopt;
}

// The answer where nothing is written, or none.
std::optional<Result<PublishOutcome>> FakeSinkServer::refuse(const SinkIdentity& identity,
                                                             const Publication& publication, const Chunk& chunk) const {
  if (auto refused = refuse_identity(identity)) return refused;
  const Keys* keys = find(identity.job_name);
  Fence fence;
  bool same = false;
  if (const auto held = keys->fences.find(publication.partition); held != keys->fences.end()) {
    if (held->second.incarnation == identity.incarnation) {
      fence = held->second;
      same = fence.generation == publication.generation;
    } else if (!publication.full) {
      return PublishOutcome::kDataLost;
    }
  }
  if (!fenced) return std::nullopt;
  if (fences_everybody) return PublishOutcome::kFenced;
  if (fence.generation > publication.generation) return PublishOutcome::kFenced;
  if (!is_whole(*keys, identity.layout)) return PublishOutcome::kDataLost;
  if (same && fence.done >= publication.batch) return PublishOutcome::kDone;
  if (same && fence.open > publication.batch) return PublishOutcome::kFenced;
  if (!publication.full && fence.done < publication.since) return PublishOutcome::kDataLost;
  const bool follows =
      same && fence.open == publication.batch && fence.attempt == chunk.attempt && fence.next_chunk == chunk.number;
  if (chunk.number > 0 && !follows) {
    return fail(ErrorCode::kUnavailable, "a part of the publication is lost; it is repeated");
  }
  return std::nullopt;
}

Result<PublishOutcome> FakeSinkServer::apply(const SinkIdentity& identity, const Publication& publication,
                                             const Chunk& chunk) {
  if (auto refused = refuse(identity, publication, chunk)) {
    if (*refused == PublishOutcome::kFenced) ++refused_by_fence_;
    return *refused;
  }
  Keys& keys = jobs_.at(identity.job_name);
  Fence& fence = keys.fences[publication.partition];
  if (fence.incarnation != identity.incarnation) fence = {};
  fence.incarnation = identity.incarnation;
  fence.generation = publication.generation;
  fence.open = publication.batch;
  if (publication.full) fence.done = BatchId(0);
  fence.attempt = chunk.attempt;
  fence.next_chunk = chunk.number + 1;
  Event event{.what = What::kValue,
              .job_name = identity.job_name,
              .job = identity.job,
              .incarnation = identity.incarnation,
              .partition = publication.partition,
              .generation = publication.generation,
              .batch = publication.batch};
  for (size_t number = 0; number < identity.layout.size() && chunk.number == 0 && publication.full; ++number) {
    remove_leftovers(publication, number, keys, identity);
  }
  for (size_t index = chunk.begin; index < chunk.end; ++index) {
    const SinkEntry& entry = publication.entries[index];
    const TablePlan& plan = identity.layout[entry.table];
    Table& table = keys.tables[plan.name];
    event.what = entry.removed ? What::kRemoved : What::kValue;
    event.key = entry.own_key();
    event.text = entry.text;
    event.table = plan.name;
    event.member.reset();
    if (entry.is_member()) {
      event.member = entry.member();
      if (!entry.removed) event.text = std::to_string(static_cast<int64_t>(entry.score));
      auto& members = table.members[event.key];
      members.erase(*event.member);
      if (!entry.removed) members[*event.member] = entry.score;
      record(event);
      continue;
    }
    if (entry.removed || publication.full) table.members.erase(entry.key);
    if (entry.removed) {
      table.values.erase(entry.key);
      if (plan.rank_all) table.rank.erase(entry.key);
    } else {
      table.values[entry.key] = entry.text;
      if (plan.rank_all) table.rank[entry.key] = entry.score;
    }
    record(event);
  }
  for (auto& [name, table] : keys.tables) table.size = table.values.size();
  if (chunk.last) {
    fence.done = publication.batch;
    event.what = What::kDone;
    event.key.clear();
    event.text.clear();
    event.table.clear();
    event.member.reset();
    record(event);
  }
  return PublishOutcome::kDone;
}

void FakeSinkServer::remove_leftovers(const Publication& publication, size_t number, Keys& keys,
                                      const SinkIdentity& identity) {
  const TablePlan& plan = identity.layout[number];
  Table& table = keys.tables[plan.name];
  std::set<std::string> held;
  for (const SinkEntry& entry : publication.entries) {
    if (entry.table == number && !entry.removed && !entry.is_member()) held.insert(entry.key);
  }
  for (auto value = table.values.begin(); value != table.values.end();) {
    if (held.contains(value->first) || partition_of_(value->first) != publication.partition) {
      ++value;
      continue;
    }
    record({.what = What::kRemoved,
            .job_name = identity.job_name,
            .job = identity.job,
            .incarnation = identity.incarnation,
            .partition = publication.partition,
            .generation = publication.generation,
            .batch = publication.batch,
            .key = value->first,
            .table = plan.name});
    if (plan.rank_all) table.rank.erase(value->first);
    table.members.erase(value->first);
    value = table.values.erase(value);
  }
}

Result<PublishOutcome> FakeSinkServer::end_round(const SinkIdentity& identity, const RoundEnd& end) {
  if (auto refused = refuse_identity(identity)) return *refused;
  Keys& keys = jobs_.at(identity.job_name);
  const Round round{identity.incarnation, end.epoch, end.generation, end.batch};
  if (keys.round && *keys.round > round) return PublishOutcome::kFenced;
  if (!is_whole(keys, identity.layout)) return PublishOutcome::kDataLost;
  for (int32_t partition = 0; partition < end.state_partitions; ++partition) {
    const auto fence = keys.fences.find(StatePartition(partition));
    if (fence == keys.fences.end() || fence->second.incarnation != identity.incarnation ||
        fence->second.done < end.batch) {
      return PublishOutcome::kDataLost;
    }
  }
  keys.round = round;
  keys.status = end.status;
  for (const auto& [number, rank] : end.ranks) {
    const TablePlan& plan = identity.layout[number];
    if (!plan.rank_of_rounds()) continue;
    Table& table = keys.tables[plan.name];
    table.rank.clear();
    for (const SinkEntry& entry : rank) table.rank[entry.key] = entry.score;
  }
  record({.what = What::kRound,
          .job_name = identity.job_name,
          .job = identity.job,
          .incarnation = identity.incarnation,
          .generation = end.generation,
          .batch = end.batch});
  return PublishOutcome::kDone;
}

FakeSink::~FakeSink() {
  if (timer_ != 0) loop_.cancel(timer_);
  if (!waiting_.empty() && server_->timing.lands()) waiting_.front()();
}

template <typename T>
Result<T> FakeSink::lost_or(Result<T> answer) const {
  if (!server_->failure && server_->reply_is_lost && server_->reply_is_lost()) {
    return fail(ErrorCode::kUnavailable, "the connection to the sink broke");
  }
  return answer;
}

void FakeSink::enqueue(Call call) {
  waiting_.push_back(std::move(call));
  if (waiting_.size() == 1) start_request();
}

void FakeSink::start_request() {
  timer_ = loop_.schedule(server_->timing.take(), [this] {
    timer_ = 0;
    std::optional<TaskLoop::Task> answer = waiting_.front()();
    if (answer) waiting_.pop_front();
    if (!waiting_.empty()) start_request();
    if (answer) (*answer)();  // may destroy this
  });
}

void FakeSink::claim(SinkIdentity identity, bool take_over, std::move_only_function<void(Status)> done) {
  enqueue([this, identity = std::move(identity), take_over, done = std::move(done)]() mutable {
    return TaskLoop::Task(
        [status = lost_or(server_->claim(identity, take_over)), done = std::move(done)]() mutable { done(status); });
  });
}

void FakeSink::purge(SinkIdentity identity, std::move_only_function<void(Status)> done) {
  enqueue([this, identity = std::move(identity), done = std::move(done)]() mutable {
    return TaskLoop::Task(
        [status = lost_or(server_->purge(identity)), done = std::move(done)]() mutable { done(status); });
  });
}

void FakeSink::publish(SinkIdentity identity, Publication publication,
                       std::move_only_function<void(Result<PublishOutcome>)> done) {
  FakeSinkServer::Chunk chunk{.attempt = server_->next_attempt()};
  enqueue([this, identity = std::move(identity), publication = std::move(publication), chunk,
           done = std::move(done)]() mutable -> std::optional<TaskLoop::Task> {
    chunk.end = std::min(chunk.begin + server_->chunk_entries, publication.entries.size());
    chunk.last = chunk.end == publication.entries.size();
    Result<PublishOutcome> outcome = lost_or(server_->apply(identity, publication, chunk));
    if (outcome && *outcome == PublishOutcome::kDone && !chunk.last) {
      chunk.begin = chunk.end;
      ++chunk.number;
      return std::nullopt;
    }
    return TaskLoop::Task([outcome, done = std::move(done)]() mutable { done(outcome); });
  });
}

void FakeSink::end_round(SinkIdentity identity, RoundEnd end,
                         std::move_only_function<void(Result<PublishOutcome>)> done) {
  enqueue([this, identity = std::move(identity), end = std::move(end), done = std::move(done)]() mutable {
    return TaskLoop::Task(
        [outcome = lost_or(server_->end_round(identity, end)), done = std::move(done)]() mutable { done(outcome); });
  });
}

}  // namespace millrace
