#include "worker/query_board.h"

#include <algorithm>
#include <chrono>

namespace millrace {
namespace {

constexpr Duration kPatience = std::chrono::seconds(10);

}  // namespace

void QueryBoard::refuse(int64_t wire_id, const std::string& problem) {
  wire::QueryReply reply;
  reply.id = wire_id;
  reply.problem = problem;
  hooks_.reply(reply);
}

void QueryBoard::reply(wire::QueryReply reply) {
  size_t bytes = 0;
  for (const wire::QueryEntry& entry : reply.entries) bytes += entry.key.size() + entry.text.size();
  if (bytes > kMaxReplyBytes) {
    reply.problem = "the " + std::to_string(reply.entries.size()) + " entries have " + std::to_string(bytes) +
                    " bytes with their values, and an answer at most " + std::to_string(kMaxReplyBytes) +
                    "; ask for fewer";
    reply.final = true;
    reply.entries.clear();
  }
  hooks_.reply(reply);
}

void QueryBoard::ask(const wire::Query& query) {
  Open open;
  open.wire_id = query.id;
  open.at = BatchId(query.at);
  open.table = static_cast<size_t>(query.table);
  open.top = query.top;
  if (open.table >= ranks_.size()) {
    refuse(query.id, "the job has no table of this number here; ask again");
    return;
  }
  if (query.top > 0 && try_rank(open)) return;
  if (query.members > 0 && query.keys.size() != 1) {
    refuse(query.id, "members are those of one key");
    return;
  }
  if (open_.size() >= kMaxOpen) {
    refuse(query.id, "too many queries are under way; try again later");
    return;
  }
  const uint64_t id = ++last_id_;
  open.timer = loop_.schedule(kPatience, lifetime_.guard([this, id] {
    hooks_.cancel(id);
    end(id, "the batch asked for was not reached within 10 s; try again later");
  }));
  Open& placed = open_.emplace(id, std::move(open)).first->second;
  if (query.top <= 0) ask_lanes(id, placed, query);
}

void QueryBoard::ask_lanes(uint64_t id, Open& open, const wire::Query& query) {
  std::map<size_t, LaneQuery> by_lane;
  open.entries.resize(query.keys.size());
  for (size_t i = 0; i < query.keys.size(); ++i) {
    const StatePartition partition = state_partition_of(query.keys[i], state_partitions_);
    const size_t lane = hooks_.lane_of(partition);
    if (lane == kNoLane) {
      end(id, "the keys' owner has changed; ask again");
      return;
    }
    open.entries[i].key = query.keys[i];
    LaneQuery& part = by_lane[lane];
    part.id = id;
    part.at = open.at;
    part.table = open.table;
    part.keys.push_back({i, partition, query.keys[i]});
    part.members = static_cast<size_t>(std::max(0, query.members));
    if (query.__isset.after) part.after.emplace(query.after.member, query.after.count);
  }
  open.lanes_waiting = by_lane.size();
  if (by_lane.empty()) {
    end(id, "");
    return;
  }
  for (auto& [lane, part] : by_lane) hooks_.ask(lane, std::move(part));
}

bool QueryBoard::try_rank(const Open& open) {
  const RankShare* rank = ranks_[open.table].newest();
  if (rank == nullptr || rank->batch < open.at) return false;
  wire::QueryReply answer;
  answer.id = open.wire_id;
  answer.batch = rank->batch.value();
  const size_t n = std::min(rank->entries.size(), static_cast<size_t>(open.top));
  for (size_t i = 0; i < n; ++i) {
    wire::QueryEntry entry;
    entry.key = rank->entries[i].key;
    entry.text = rank->entries[i].text;
    entry.found = true;
    answer.entries.push_back(std::move(entry));
  }
  reply(std::move(answer));
  return true;
}

void QueryBoard::on_rank() {
  for (auto entry = open_.begin(); entry != open_.end();) {
    if (entry->second.top > 0 && try_rank(entry->second)) {
      loop_.cancel(entry->second.timer);
      entry = open_.erase(entry);
    } else {
      ++entry;
    }
  }
}

void QueryBoard::on_answer(LaneAnswer answer) {
  const auto found = open_.find(answer.id);
  if (found == open_.end()) return;
  if (!answer.problem.empty()) {
    hooks_.cancel(answer.id);
    end(answer.id, answer.problem);
    return;
  }
  for (auto& [index, value] : answer.values) {
    wire::QueryEntry& entry = found->second.entries.at(index);
    entry.found = value.has_value();
    entry.text = value.value_or("");
  }
  for (IndexMember& each : answer.members) {
    wire::QueryEntry& entry = found->second.entries.emplace_back();
    entry.key = std::move(each.member);
    entry.count = each.count;
  }
  if (--found->second.lanes_waiting == 0) end(answer.id, "");
}

void QueryBoard::end(uint64_t id, const std::string& problem) {
  const auto found = open_.find(id);
  if (found == open_.end()) return;
  Open open = std::move(found->second);
  open_.erase(found);
  loop_.cancel(open.timer);
  if (!problem.empty()) {
    refuse(open.wire_id, problem);
    return;
  }
  wire::QueryReply answer;
  answer.id = open.wire_id;
  answer.batch = open.at.value();
  answer.entries = std::move(open.entries);
  reply(std::move(answer));
}

}  // namespace millrace
