// RocksdbMetadataStore: the master's durable memory in DATA_DIR/metadata, a RocksDB whose write-ahead log is synced
// before a commit is answered.
//
// Two threads. The loop calls everything and reads; the commit thread takes all sets that wait, writes them as
// one synced group and answers in their order. Until a set is answered the loop sees it through an overlay.
//
// Invariants: sets become durable in the order of commit(). After an error every set that was called before the
// first failed one is answered fails too. A full disk or a failed sync is left behind by RocksDB's Resume() or by
// opening the database anew, on the next commit; until then commits fail and say why.
//
// DATA_DIR/LOCK is locked (flock) by the process that has it open and holds its process number.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/seams/metadata_store.h"
#include "common/seams/task_loop.h"

namespace millrace {

class RocksdbMetadataStore : public MetadataStore {
 public:
  // Makes the directory if it is not there. kExists: another process has it open (the message names it); kIo: it
  // cannot be made or written; kCorrupt: what it holds cannot be read.
  static Result<std::unique_ptr<RocksdbMetadataStore>> open(TaskLoop& loop, const std::string& data_dir);
  ~RocksdbMetadataStore() override;

  [[nodiscard]] Result<std::optional<std::string>> get(const std::string& key) override;
  [[nodiscard]] Result<std::vector<std::pair<std::string, std::string>>> scan(const std::string& prefix, size_t limit,
                                                                              const std::string& from) override;
  void commit(WriteSet set, std::move_only_function<void(Status)> done) override;

 private:
  class Database;  // the RocksDB side: see the .cc
  class Committer;
  struct Pending {
    uint64_t sequence = 0;  // of the newest set that writes the key
    std::optional<std::string> value;
  };

  RocksdbMetadataStore(TaskLoop& loop, std::unique_ptr<Database> database);
  void on_committed(uint64_t sequence, const std::vector<std::string>& keys);

  // Owned by the loop. The committer is destroyed first: its thread uses the database.
  uint64_t last_sequence_ = 0;
  std::map<std::string, Pending> overlay_;  // keys of sets that are not answered yet
  std::unique_ptr<Database> database_;
  std::unique_ptr<Committer> committer_;
};

}  // namespace millrace
