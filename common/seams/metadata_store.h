// MetadataStore: the master's durable memory: small values under ordered keys. The batch log, the registry of
// jobs, the epoch, assignments and results live in it.
//
// Real: RocksDB with a synced write-ahead log (adapters/rocksdb_metadata_store.h). Fake: a map that forgets
// what was not yet synced when its process crashes.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/base/error.h"

namespace millrace {

// All or nothing. A later write of the same key in one set wins.
class WriteSet {
 public:
  struct Write {
    std::string key;
    std::optional<std::string> value;  // none: remove
  };
  void put(std::string key, std::string value) { writes_.push_back({std::move(key), std::move(value)}); }
  void remove(std::string key) { writes_.push_back({std::move(key), std::nullopt}); }
  [[nodiscard]] bool empty() const { return writes_.empty(); }
  [[nodiscard]] const std::vector<Write>& writes() const { return writes_; }

 private:
  std::vector<Write> writes_;
};

// Lives on one loop. One process at a time has it open; a second is refused with kExists at opening.
class MetadataStore {
 public:
  virtual ~MetadataStore() = default;

  // Reads see every commit that was called before, durable or not. Blocking, small: for start-up and rare calls.
  [[nodiscard]] virtual Result<std::optional<std::string>> get(const std::string& key) = 0;
  // Pairs whose key begins with `prefix`, ascending, at most `limit`, from `from` on where it is greater.
  [[nodiscard]] virtual Result<std::vector<std::pair<std::string, std::string>>> scan(const std::string& prefix,
                                                                                      size_t limit,
                                                                                      const std::string& from = "") = 0;

  // Makes the set durable, then calls `done` on the loop. Sets become durable in the order of the calls, so a
  // set that is durable proves all before it. After an error (kIo: full disk, failed sync) no later set is
  // taken until `done` of the failed one has run; a failed sync is final for the file and reopened by the store.
  virtual void commit(WriteSet set, std::move_only_function<void(Status)> done) = 0;
};

}  // namespace millrace
