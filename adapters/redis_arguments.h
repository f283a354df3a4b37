// What the calls of the Redis sink have in common: names of keys and fields, and lists of arguments.
#pragma once

#include <cstdint>
#include <cstdio>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/seams/sink.h"

namespace millrace {

inline std::string redis_key(const SinkIdentity& identity, const std::string& suffix) {
  return "{" + identity.job_name + "}:" + suffix;
}

inline bool has_rank_of_all(const TablePlan& table) {
  return table.rank_all && !table.rank.empty();
}

// Each key of the table has an object of its own, {NAME}:TABLE:KEY.
inline bool has_objects(const TablePlan& table) {
  return table.form != TableForm::kHash;
}

// The field of the fence with the number of the table's keys.
inline std::string size_field(const SinkLayout& layout, size_t table) {
  return table == 0 ? "size" : "size:" + layout[table].name;
}

inline std::string format_score(double score) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.17g", score);
  return text;
}

// The arguments of one EVALSHA, as they are made: texts that it keeps, and views of what the caller keeps.
class RedisArguments {
 public:
  explicit RedisArguments(const std::string& script) { add("EVALSHA").add(script); }

  RedisArguments& add(std::string text) { return view(owned_.emplace_back(std::move(text))); }
  RedisArguments& add(int64_t number) { return add(std::to_string(number)); }
  RedisArguments& view(std::string_view text) {
    views_.push_back(text);
    return *this;
  }
  RedisArguments& keys(const std::vector<std::string>& keys) {
    add(static_cast<int64_t>(keys.size()));
    for (const std::string& key : keys) add(key);
    return *this;
  }
  // A place whose number is known later.
  size_t reserve() {
    view({});
    return size() - 1;
  }
  void set(size_t place, int64_t number) { views_[place] = owned_.emplace_back(std::to_string(number)); }

  [[nodiscard]] size_t size() const { return views_.size(); }
  [[nodiscard]] std::span<const std::string_view> views() const { return views_; }

 private:
  std::deque<std::string> owned_;  // their places stay
  std::vector<std::string_view> views_;
};

}  // namespace millrace
