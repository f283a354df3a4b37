// What a master and its executors write down when they all share one process: there is nobody to read it after them, so
// it is kept in memory as far as they themselves read it, and no further.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/seams/checkpoint_store.h"
#include "common/seams/metadata_store.h"
#include "common/seams/task_loop.h"

namespace millrace {

class MemoryMetadataStore final : public MetadataStore {
 public:
  explicit MemoryMetadataStore(TaskLoop& loop) : loop_(loop) {}

  Result<std::optional<std::string>> get(const std::string& key) override;
  Result<std::vector<std::pair<std::string, std::string>>> scan(const std::string& prefix, size_t limit,
                                                                const std::string& from) override;
  void commit(WriteSet set, std::move_only_function<void(Status)> done) override;

 private:
  struct Alive {};
  TaskLoop& loop_;  // outlives this
  std::map<std::string, std::string> values_;
  const std::shared_ptr<Alive> alive_ = std::make_shared<Alive>();
};

// Small files are kept. State is taken and forgotten: it would be read by a successor of an executor, and here all end
// together. So a checkpoint only ends what the engine keeps until there is one.
class ForgetfulCheckpointStore final : public CheckpointStore {
 public:
  // Stores of one process with the same `files` see the same small files; all live on one loop.
  using Files = std::map<std::string, std::string>;
  ForgetfulCheckpointStore(TaskLoop& loop, std::shared_ptr<Files> files) : loop_(loop), files_(std::move(files)) {}

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
  struct Alive {};
  template <typename T>
  void answer(Result<T> result, Done<T> done);

  TaskLoop& loop_;  // outlives this
  const std::shared_ptr<Files> files_;
  const std::shared_ptr<Alive> alive_ = std::make_shared<Alive>();
};

}  // namespace millrace
