// FakeCheckpointStore: a CheckpointStore over a FakeCheckpointDisk, which outlives the processes and is seen by all of
// them. Operations of one process are carried out in order, each after the disk's latency; what was under way when the
// process crashes (the store is destroyed) is not there, or wholly there where the disk's timing says so.
//
// A state file is  partition u32 | removed u8 | key size u32 | value size u32 | key | value  per entry, little-endian.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/seams/checkpoint_store.h"
#include "common/seams/task_loop.h"
#include "tests/fakes/fake_timing.h"

namespace millrace {

enum class FakeFileOperation { kWriteState, kReadState, kMergeState, kReadPage, kCreate, kRead, kList, kRemove };

struct FakeCheckpointDisk {
  std::map<std::string, std::string> files;
  FakeTiming timing;
  // Asked at the end of each operation; an error fails it, and it has no effect.
  std::function<std::optional<Error>(FakeFileOperation operation, const std::string& name)> failure;
};

// What read_state() answers, for a test that opens a checkpoint by hand.
Result<StateRun> read_fake_state(const FakeCheckpointDisk& disk, const StateFile& file,
                                 const std::vector<StatePartition>& partitions);

class FakeCheckpointStore : public CheckpointStore {
 public:
  FakeCheckpointStore(TaskLoop& loop, std::shared_ptr<FakeCheckpointDisk> disk);
  ~FakeCheckpointStore() override;
  FakeCheckpointStore(const FakeCheckpointStore&) = delete;
  FakeCheckpointStore& operator=(const FakeCheckpointStore&) = delete;

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
  // Carries the operation out and returns the answer's task.
  using Operation = std::move_only_function<TaskLoop::Task()>;

  template <typename T, typename Work>
  void enqueue(FakeFileOperation operation, std::string name, Work work, Done<T> done);
  void start_next();

  TaskLoop& loop_;  // outlives this
  const std::shared_ptr<FakeCheckpointDisk> disk_;
  std::deque<Operation> waiting_;
  TaskLoop::TimerId timer_ = 0;
};

}  // namespace millrace
