// FileCheckpointStore: checkpoints in a directory on a file system that all hosts share (file:///DIR).
//
// A state file is a table in RocksDB's format (a run of no entries is an empty file), ordered by its keys:
//   key    partition (u32, big-endian) | key bytes
//   value  tag (u8: 0 value, 1 removed) | value bytes
// Blocks carry XXH3 checksums; the file as a whole is named by its size and the XXH3-64 of all its bytes, which
// the manifest holds and every reader verifies before it looks inside.
//
// Every file is written as DIR/.tmp/NAME, synced, put under its name in one step (rename; link where it may not
// replace) and its directory synced: a name that exists is complete. DIR/.tmp is swept of leftovers older than an
// hour at opening. While it is missing the store is not mounted: everything is kUnavailable then, nothing is "not
// there", and nothing is written into the empty mount point. Therefore only a master that is new makes it: whoever
// made it in an empty mount point would let everyone on that host take the local disk for the store.
//
// One thread of its own does the work in the order of the calls; another one, with less right to the processor, reads
// pages. Answers come on the loop.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "common/seams/checkpoint_store.h"
#include "common/seams/task_loop.h"

namespace millrace {

class StatePages;
class WorkerThread;

class FileCheckpointStore : public CheckpointStore {
 public:
  enum class IfMissing {
    kMake,    // a new store
    kRefuse,  // kUnavailable: it was there before
    kWait,    // opened; everything is kUnavailable until it is there
  };

  // `uri` is file:///DIR. kInvalid: another form; kIo: it cannot be made or written.
  static Result<std::unique_ptr<FileCheckpointStore>> open(TaskLoop& loop, const std::string& uri,
                                                           IfMissing if_missing);
  ~FileCheckpointStore() override;

  void write_state(std::string name, std::vector<StateRun> runs, Done<StateFile> done) override;
  void read_state(StateFile file, std::vector<StatePartition> partitions, Done<StateRun> done) override;
  void merge_state(std::vector<StateFile> files, std::vector<StatePartition> partitions, std::string name,
                   Done<StateFile> done) override;
  void read_page(StateSlice slice, Show show, Done<StatePage> done) override;
  void create(std::string name, std::string bytes, Done<bool> done) override;
  void read(std::string name, Done<std::string> done) override;
  void list(std::string folder, Done<std::vector<std::string>> done) override;
  void remove(std::vector<std::string> names, Done<bool> done) override;

 private:
  FileCheckpointStore(TaskLoop& loop, std::string root);

  // Runs `work` on the thread and gives its result to `done` on the loop.
  template <typename T, typename Work>
  void run(Work work, Done<T> done);

  template <typename T, typename Work>
  void run_on(WorkerThread& thread, Work work, Done<T> done);

  // Constant after construction.
  TaskLoop& loop_;  // outlives this
  const std::string root_;
  std::unique_ptr<WorkerThread> thread_;
  std::unique_ptr<StatePages> pages_;           // of the thread; these two from the first page on
  std::unique_ptr<WorkerThread> pages_thread_;  // ends before them
  TaskLoop::TimerId forget_pages_ = 0;          // 0: none
};

}  // namespace millrace
