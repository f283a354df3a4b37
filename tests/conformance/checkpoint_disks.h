// What a CheckpointStore's tests run on: the fake and a directory.
#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <initializer_list>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "adapters/file_checkpoint_store.h"
#include "tests/conformance/temporary_directory.h"
#include "tests/conformance/test_loop.h"
#include "tests/fakes/fake_checkpoint_store.h"

namespace millrace {

class Disk {
 public:
  virtual ~Disk() = default;
  virtual std::unique_ptr<CheckpointStore> open() = 0;
  virtual std::string bytes(const std::string& name) = 0;
  virtual void set_bytes(const std::string& name, const std::string& bytes) = 0;
  virtual TestLoop& loop() = 0;
};

class FakeDisk : public Disk {
 public:
  FakeDisk() {
    disk_->timing.latency = [] { return std::chrono::milliseconds(1); };
    disk_->timing.operation_lands = [] { return true; };
  }
  std::unique_ptr<CheckpointStore> open() override { return std::make_unique<FakeCheckpointStore>(loop_, disk_); }
  std::string bytes(const std::string& name) override { return disk_->files.at(name); }
  void set_bytes(const std::string& name, const std::string& bytes) override { disk_->files[name] = bytes; }
  TestLoop& loop() override { return loop_; }

 private:
  TestLoop loop_{TestLoop::Time::kVirtual};
  std::shared_ptr<FakeCheckpointDisk> disk_ = std::make_shared<FakeCheckpointDisk>();
};

class RealDisk : public Disk {
 public:
  std::unique_ptr<CheckpointStore> open() override {
    return FileCheckpointStore::open(loop_, "file://" + directory_.path(), FileCheckpointStore::IfMissing::kMake)
        .value();
  }
  std::string bytes(const std::string& name) override {
    std::ostringstream bytes;
    bytes << std::ifstream(directory_.path() + "/" + name, std::ios::binary).rdbuf();
    return bytes.str();
  }
  void set_bytes(const std::string& name, const std::string& bytes) override {
    std::ofstream(directory_.path() + "/" + name, std::ios::binary | std::ios::trunc) << bytes;
  }
  TestLoop& loop() override { return loop_; }

 private:
  TemporaryDirectory directory_;
  TestLoop loop_{TestLoop::Time::kReal};
};

// Of a store on the fake disk, or with true on a real one.
class TestOnDisks : public testing::TestWithParam<bool> {
 protected:
  TestOnDisks() {
    if (GetParam()) {
      disk_ = std::make_unique<RealDisk>();
    } else {
      disk_ = std::make_unique<FakeDisk>();
    }
    store_ = disk_->open();
  }
  TestLoop& loop() { return disk_->loop(); }
  Result<StateFile> try_write(const std::string& name, StateRun run) {
    return wait_for<StateFile>(loop(),
                               [&](auto done) { store_->write_state(name, {std::move(run)}, std::move(done)); });
  }
  StateFile write(const std::string& name, StateRun run) {
    auto file = try_write(name, std::move(run));
    EXPECT_TRUE(file.has_value()) << file.error();
    return file.value_or(StateFile());
  }

  std::unique_ptr<Disk> disk_;
  std::unique_ptr<CheckpointStore> store_;
};

// "1 key=value" per entry, "1 key-" for a removed one.
inline std::vector<std::string> show(const StateRun& run) {
  std::vector<std::string> lines;
  for (size_t index = 0; index < run.size(); ++index) {
    const StateRun::Entry entry = run[index];
    lines.push_back(std::to_string(entry.partition.value()) + " " + std::string(entry.key) +
                    (entry.removed ? "-" : "=" + std::string(entry.value)));
  }
  return lines;
}

inline std::vector<StatePartition> partitions(std::initializer_list<int> numbers) {
  std::vector<StatePartition> all;
  for (const int number : numbers) all.emplace_back(number);
  return all;
}

}  // namespace millrace
