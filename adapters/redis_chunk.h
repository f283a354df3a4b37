// RedisChunk: what a part of a call of redis_scripts::kPublish writes, some of the entries of a publication, sorted by
// table and by what is done with them. The entries and the identity outlive it.
#pragma once

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

  // Of every call: the fence and the tables.
  static std::vector<std::string> shared_keys(const SinkIdentity& identity);
  // The objects of the entries' keys.
  void add_objects(std::vector<std::string>& keys) const;
  // How many arguments follow, what is said of each table, and what is written.
  void add_to(RedisArguments& arguments) const;

 private:
  using Entries = std::vector<const SinkEntry*>;
  struct Part {  // of one table
    Entries present, removed;
    Entries members;  // by key; of each those that are there stand before those that go
  };

  void add_values(RedisArguments& arguments) const;

  const SinkIdentity& identity_;
  const bool full_;
  std::vector<Part> parts_;
};

}  // namespace millrace
