// FakeMetadataStore: a MetadataStore over a FakeMetadataDisk, which outlives the processes that use it.
//
// Destroying the store is the crash of its process: sets that were not answered are lost, or, where the disk's timing
// says so, a first part of them had become durable. Everything runs on the loop; nothing depends on real time.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/seams/metadata_store.h"
#include "common/seams/task_loop.h"
#include "tests/fakes/fake_timing.h"

namespace millrace {

struct FakeMetadataDisk {
  std::map<std::string, std::string> values;  // what is durable
  FakeTiming timing;                          // of one synced write
  std::optional<Error> failure;               // while set, every write fails with it
  bool open = false;
  std::function<void(const std::string& key, const std::string& value)> written;  // told of what became durable
  uint64_t commits = 0;                                                           // sets that became durable
};

class FakeMetadataStore : public MetadataStore {
 public:
  // kExists: another process has it open.
  static Result<std::unique_ptr<FakeMetadataStore>> open(TaskLoop& loop, std::shared_ptr<FakeMetadataDisk> disk);
  ~FakeMetadataStore() override;
  FakeMetadataStore(const FakeMetadataStore&) = delete;
  FakeMetadataStore& operator=(const FakeMetadataStore&) = delete;

  [[nodiscard]] Result<std::optional<std::string>> get(const std::string& key) override;
  [[nodiscard]] Result<std::vector<std::pair<std::string, std::string>>> scan(const std::string& prefix, size_t limit,
                                                                              const std::string& from = "") override;
  void commit(WriteSet set, std::move_only_function<void(Status)> done) override;

 private:
  struct Commit {
    WriteSet set;
    std::move_only_function<void(Status)> done;
  };

  FakeMetadataStore(TaskLoop& loop, std::shared_ptr<FakeMetadataDisk> disk);
  void start_group();
  void finish_group();
  // What a reader sees: the disk with all sets that are not answered.
  [[nodiscard]] std::map<std::string, std::string> visible() const;

  TaskLoop& loop_;  // outlives this
  const std::shared_ptr<FakeMetadataDisk> disk_;
  std::deque<Commit> waiting_;
  size_t group_ = 0;  // the first ones of waiting_, being written
  TaskLoop::TimerId timer_ = 0;
};

}  // namespace millrace
