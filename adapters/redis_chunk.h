// RedisChunk: what one call of redis_scripts::kPublish writes, some of the entries of a publication, sorted by table
// and by what is done with them. The entries and the identity outlive it.
#pragma once

#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "adapters/redis_arguments.h"
#include "common/seams/sink.h"

namespace millrace {

class RedisChunk {
 public:
  RedisChunk(const SinkIdentity& identity, std::span<const SinkEntry> entries, bool full);

  // All keys of the call: the fence, the tables, and the objects of the entries' keys.
  [[nodiscard]] std::vector<std::string> keys() const;
  // What is said of each table.
  void add_counts(RedisArguments& arguments) const;
  // What is written; the views stay good as long as this object.
  void add_values(std::vector<std::string_view>& arguments);

 private:
  using Entries = std::vector<const SinkEntry*>;
  struct Part {  // of one table
    Entries present, removed;
    Entries members;  // by key; of each those that are there stand before those that go
  };

  void add_scores(std::span<const SinkEntry* const> entries, std::string_view (SinkEntry::*name)() const,
                  std::vector<std::string_view>& arguments);

  const SinkIdentity& identity_;
  const bool full_;
  std::vector<Part> parts_;
  std::deque<std::string> numbers_;
};

}  // namespace millrace
