// CheckpointStore: immutable files that every process of a cluster sees: state increments and bases, manifests,
// and the probe that proves that two processes see the same store.
//
// Real: a directory on a file system that all hosts share (file:///DIR), state files in RocksDB's table format
// written by SstFileWriter (adapters/file_checkpoint_store.h). Fake: in memory, drops what was not synced.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/error.h"
#include "common/base/ids.h"

namespace millrace {

// Keys and values of state partitions, in one arena, ordered by (partition, key); at most one entry a key.
class StateRun {
 public:
  struct Entry {
    StatePartition partition;
    std::string_view key;
    std::string_view value;
    bool removed = false;
  };

  // What every key that is added from here on begins with.
  void set_prefix(std::string_view prefix) { prefix_.assign(prefix); }
  void add(StatePartition partition, std::string_view key, std::string_view value, bool removed = false);
  void reserve(size_t entries, size_t bytes);
  // Orders by (partition, key) as bytes compare.
  void sort();
  // The entries of all runs, ordered.
  static StateRun sorted(std::vector<StateRun> runs);
  [[nodiscard]] size_t size() const { return entries_.size(); }
  [[nodiscard]] size_t bytes() const { return arena_.size(); }
  [[nodiscard]] Entry operator[](size_t index) const;

 private:
  struct Packed {
    uint64_t offset;
    uint32_t key_size;
    uint32_t value_size;
    StatePartition partition;
    bool removed;
  };
  [[nodiscard]] std::string_view key_of(const Packed& entry) const {
    return std::string_view(arena_).substr(entry.offset, entry.key_size);
  }
  void add_by_key(const std::vector<Packed>& entries);

  std::string prefix_;
  std::string arena_;
  std::vector<Packed> entries_;
};

// A file as a manifest names it. `name` is relative to the store, with '/' between folders.
struct StateFile {
  std::string name;
  uint64_t size = 0;
  uint64_t hash = 0;  // XXH3-64 of all bytes
  uint64_t entries = 0;
};

// Entries that a chain of files holds, those of all partitions together, ordered by their keys alone. A key is in one
// partition only.
struct StateSlice {
  struct Source {
    StateFile file;
    std::vector<StatePartition> partitions;  // that it is read for
  };
  std::vector<Source> sources;  // the oldest first; the youngest entry of a key wins
  std::string prefix;           // of the keys
  std::optional<std::string> after;
  size_t most_entries = 1000;
  size_t most_bytes = 1 << 20;  // of keys and values; one entry always fits
};
struct StatePage {
  StateRun run;       // without removed ones
  bool more = false;  // there are some behind these
};

// Lives on one loop; the work is done elsewhere and each `done` is called on the loop, in any order.
// Names that leave the store (absolute, "..", empty parts) are kInvalid.
class CheckpointStore {
 public:
  template <typename T>
  using Done = std::move_only_function<void(Result<T>)>;

  virtual ~CheckpointStore() = default;

  // Writes the entries of all runs, which need no order, as one file: durable and complete under its name when `done`
  // is called with success. A file of that name is replaced: names carry who wrote them, see "Checkpoints" in
  // ARCHITECTURE.md.
  virtual void write_state(std::string name, std::vector<StateRun> runs, Done<StateFile> done) = 0;
  // Reads the entries of the given partitions (ascending), in order. kCorrupt, with the name, if size, hash or
  // a block checksum differs; kNotFound if it is gone.
  virtual void read_state(StateFile file, std::vector<StatePartition> partitions, Done<StateRun> done) = 0;
  // Merges files (the oldest first; the youngest entry of a key wins and removals end with it) into one new
  // file that holds the given partitions only.
  virtual void merge_state(std::vector<StateFile> files, std::vector<StatePartition> partitions, std::string name,
                           Done<StateFile> done) = 0;
  // A page for people, read with less right to the processor than all else has, and beside what the other calls do. Of
  // the files their blocks are verified, and not the whole. `show` makes of the entries what is wanted, off the loop.
  // kNotFound: a file is gone.
  using Show = std::move_only_function<Status(StateRun& run)>;
  virtual void read_page(StateSlice slice, Show show, Done<StatePage> done) = 0;

  // Small files (manifests, probes). `create` is durable at `done`, and false if the name exists, untouched.
  virtual void create(std::string name, std::string bytes, Done<bool> done) = 0;
  virtual void read(std::string name, Done<std::string> done) = 0;

  // Names below a folder, at any depth, ascending.
  virtual void list(std::string folder, Done<std::vector<std::string>> done) = 0;
  // Removing what is not there is success.
  virtual void remove(std::vector<std::string> names, Done<bool> done) = 0;
};

}  // namespace millrace
