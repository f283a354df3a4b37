#include "master/query_router.h"

#include <algorithm>
#include <utility>

#include "master/assignment.h"

namespace millrace {

QueryRouter::QueryRouter(TaskLoop& loop, const Clock& clock, Hooks hooks)
    : loop_(loop), clock_(clock), hooks_(std::move(hooks)) {}

void QueryRouter::get(size_t table, std::vector<std::string> keys, BatchId at_least, Done done) {
  Pending pending;
  pending.table = table;
  pending.keys = std::move(keys);
  pending.at_least = at_least;
  pending.done = std::move(done);
  if (pending.keys.empty()) {
    pending.done(fail(ErrorCode::kInvalid, "no keys were asked for"));
    return;
  }
  add(std::move(pending));
}

void QueryRouter::top(size_t table, int32_t n, BatchId at_least, Done done) {
  Pending pending;
  pending.table = table;
  pending.top = n;
  pending.at_least = at_least;
  pending.done = std::move(done);
  add(std::move(pending));
}

void QueryRouter::docs(size_t table, std::string key, int32_t n, std::optional<wire::IndexMember> after,
                       BatchId at_least, Done done) {
  Pending pending;
  pending.table = table;
  pending.keys = {std::move(key)};
  pending.members = n;
  pending.after = std::move(after);
  pending.at_least = at_least;
  pending.done = std::move(done);
  add(std::move(pending));
}

void QueryRouter::add(Pending pending) {
  if (pending_.size() >= kMaxPending) {
    pending.done(fail(ErrorCode::kUnavailable, "too many queries are waiting; try again later"));
    return;
  }
  pending.deadline = clock_.now() + kTimeLimit;
  const int64_t id = next_id_++;
  Pending& added = pending_.emplace(id, std::move(pending)).first->second;
  ask(id, added);
  if (!sweeping_) {
    sweeping_ = true;
    loop_.schedule(std::chrono::milliseconds(20), lifetime_.guard([this] { sweep(); }));
  }
}

void QueryRouter::ask(int64_t id, Pending& pending) {
  const std::optional<BatchId> applied = hooks_.applied();
  if (!applied.has_value()) return;
  if (pending.top == 0 && *applied < pending.at_least) return;

  std::map<ProcessId, std::vector<size_t>> by_owner;
  if (pending.top > 0) {
    by_owner[hooks_.owner(nullptr)] = {};
  } else {
    for (size_t i = 0; i < pending.keys.size(); ++i) by_owner[hooks_.owner(&pending.keys[i])].push_back(i);
  }
  if (by_owner.contains(kNoProcess)) return;

  for (const auto& [part, keys] : pending.parts) parts_.erase(part);
  pending.parts.clear();
  pending.asked = true;
  pending.at = *applied;
  pending.missing = by_owner.size();
  pending.entries.assign(pending.keys.size(), {});
  for (auto& [owner, indices] : by_owner) {
    wire::Query query;
    query.id = next_id_++;
    query.at = pending.at.value();
    query.top = pending.top;
    query.table = static_cast<int32_t>(pending.table);
    query.members = pending.members;
    if (pending.after) query.__set_after(*pending.after);
    for (size_t index : indices) query.keys.push_back(pending.keys[index]);
    parts_[query.id] = id;
    pending.parts[query.id] = std::move(indices);
    hooks_.send(owner, std::move(query));
  }
}

void QueryRouter::on_reply(ProcessId, const wire::QueryReply& reply) {
  const auto part = parts_.find(reply.id);
  if (part == parts_.end()) return;
  const int64_t id = part->second;
  Pending& pending = pending_.at(id);
  const std::vector<size_t> indices = pending.parts.at(reply.id);
  parts_.erase(part);
  pending.parts.erase(reply.id);

  if (reply.final) {
    finish(id, fail(ErrorCode::kInvalid, reply.problem));
    return;
  }
  if (pending.top > 0) {
    BatchId& last = last_rank_[pending.table];
    if (reply.problem.empty() && BatchId(reply.batch) >= std::max(pending.at_least, last)) {
      last = BatchId(reply.batch);
      finish(id, Answer{BatchId(reply.batch), reply.entries});
    } else {
      pending.asked = false;  // the sweep asks again
    }
    return;
  }
  const bool complete = pending.members > 0 ? !reply.entries.empty() : reply.entries.size() == indices.size();
  if (!reply.problem.empty() || !complete || reply.batch != pending.at.value()) {
    pending.asked = false;
    return;
  }
  if (pending.members > 0) {
    finish(id, Answer{pending.at, reply.entries});
    return;
  }
  for (size_t i = 0; i < indices.size(); ++i) pending.entries[indices[i]] = reply.entries[i];
  if (--pending.missing == 0) {
    const BatchId at = pending.at;
    finish(id, Answer{at, std::move(pending.entries)});
  }
}

void QueryRouter::finish(int64_t id, Result<Answer> result) {
  auto node = pending_.extract(id);
  for (const auto& [part, keys] : node.mapped().parts) parts_.erase(part);
  node.mapped().done(std::move(result));
}

void QueryRouter::on_applied() {
  for (auto& [id, pending] : pending_) {
    if (!pending.asked) ask(id, pending);
  }
}

void QueryRouter::on_reassigned() {
  for (auto& [id, pending] : pending_) ask(id, pending);
}

void QueryRouter::sweep() {
  sweeping_ = false;
  std::vector<int64_t> expired;
  for (auto& [id, pending] : pending_) {
    if (clock_.now() >= pending.deadline) {
      expired.push_back(id);
    } else if (!pending.asked) {
      ask(id, pending);
    }
  }
  for (int64_t id : expired) {
    const bool rank = pending_.at(id).top > 0;
    const std::string what = rank ? "no rank of a recent batch" : "no answer for the applied batch";
    finish(id, fail(ErrorCode::kTimeout, what + " within 10 s; see 'millrace describe' for what the job waits for"));
  }
  if (!pending_.empty() && !sweeping_) {
    sweeping_ = true;
    loop_.schedule(std::chrono::milliseconds(20), lifetime_.guard([this] { sweep(); }));
  }
}

void QueryRouter::fail_all(const Error& error) {
  while (!pending_.empty()) finish(pending_.begin()->first, std::unexpected(error));
}

}  // namespace millrace
