#include "adapters/redis_chunk.h"

#include <algorithm>
#include <tuple>

namespace millrace {
namespace {

// Calls function(members) for the members of each key.
template <typename Function>
void for_each_list(std::span<const SinkEntry* const> members, Function&& function) {
  while (!members.empty()) {
    const auto after = std::ranges::find_if(
        members, [&](const SinkEntry* member) { return member->own_key() != members.front()->own_key(); });
    const auto size = static_cast<size_t>(after - members.begin());
    function(members.first(size));
    members = members.subspan(size);
  }
}

int64_t number_of_lists(std::span<const SinkEntry* const> members) {
  int64_t lists = 0;
  for_each_list(members, [&lists](auto) { ++lists; });
  return lists;
}

}  // namespace

RedisChunk::RedisChunk(const SinkIdentity& identity, std::span<const SinkEntry> entries, bool full)
    : identity_(identity), full_(full), parts_(identity.layout.size()) {
  for (const SinkEntry& entry : entries) {
    Part& part = parts_[entry.table];
    (entry.is_member() ? part.members : entry.removed ? part.removed : part.present).push_back(&entry);
  }
  for (Part& part : parts_) {
    std::ranges::sort(part.members, {},
                      [](const SinkEntry* member) { return std::tuple(member->own_key(), member->removed); });
  }
}

std::vector<std::string> RedisChunk::shared_keys(const SinkIdentity& identity) {
  std::vector<std::string> keys = {redis_key(identity, "fence")};
  for (const TablePlan& table : identity.layout) {
    keys.push_back(redis_key(identity, table.name));
    if (has_rank_of_all(table)) keys.push_back(redis_key(identity, table.rank));
  }
  return keys;
}

void RedisChunk::add_objects(std::vector<std::string>& keys) const {
  for (size_t table = 0; table < parts_.size(); ++table) {
    const TablePlan& plan = identity_.layout[table];
    if (!has_objects(plan)) continue;
    const std::string prefix = redis_key(identity_, plan.name) + ":";
    const auto add = [&](const SinkEntry* entry) { keys.push_back(prefix + std::string(entry->own_key())); };
    if (full_ || plan.form == TableForm::kStrings) std::ranges::for_each(parts_[table].present, add);
    std::ranges::for_each(parts_[table].removed, add);
    for_each_list(parts_[table].members, [&](auto members) { add(members.front()); });
  }
}

void RedisChunk::add_to(RedisArguments& arguments) const {
  const size_t number = arguments.reserve();
  for (const Part& part : parts_) {
    arguments.add(2 * std::ssize(part.present)).add(std::ssize(part.removed)).add(number_of_lists(part.members));
  }
  add_values(arguments);
  arguments.set(number, static_cast<int64_t>(arguments.size() - number - 1));
}

void RedisChunk::add_values(RedisArguments& arguments) const {
  const auto add_scores = [&](std::span<const SinkEntry* const> entries, auto name) {
    for (const SinkEntry* entry : entries) arguments.add(format_score(entry->score)).view((entry->*name)());
  };
  for (size_t table = 0; table < parts_.size(); ++table) {
    const Part& part = parts_[table];
    for (const SinkEntry* entry : part.present) arguments.view(entry->key).view(entry->text);
    if (has_rank_of_all(identity_.layout[table])) add_scores(part.present, &SinkEntry::own_key);
    for (const SinkEntry* entry : part.removed) arguments.view(entry->key);
    for_each_list(part.members, [&](std::span<const SinkEntry* const> members) {
      const std::ptrdiff_t stay = std::ranges::count(members, false, &SinkEntry::removed);
      arguments.add(2 * stay).add(std::ssize(members) - stay);
      add_scores(members.first(static_cast<size_t>(stay)), &SinkEntry::member);
      for (const SinkEntry* entry : members.subspan(static_cast<size_t>(stay))) arguments.view(entry->member());
    });
  }
}

}  // namespace millrace
