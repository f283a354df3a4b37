// The suite of CheckpointStore, on the fake and on a directory; then what only a directory can do.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <random>

#include "tests/conformance/checkpoint_disks.h"

namespace millrace {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

using IfMissing = FileCheckpointStore::IfMissing;

class CheckpointStoreTest : public TestOnDisks {
 protected:
  Result<StateRun> try_read(const StateFile& file, std::vector<StatePartition> of) {
    return wait_for<StateRun>(loop(), [&](auto done) { store_->read_state(file, of, std::move(done)); });
  }
  std::vector<std::string> read(const StateFile& file, std::vector<StatePartition> of) {
    auto run = try_read(file, std::move(of));
    EXPECT_TRUE(run.has_value()) << run.error();
    return run ? show(*run) : std::vector<std::string>();
  }
  Result<StateFile> try_merge(const std::vector<StateFile>& files, std::vector<StatePartition> of) {
    return wait_for<StateFile>(loop(), [&](auto done) { store_->merge_state(files, of, "merged", std::move(done)); });
  }
  Result<bool> create(const std::string& name, const std::string& bytes) {
    return wait_for<bool>(loop(), [&](auto done) { store_->create(name, bytes, std::move(done)); });
  }
  Result<std::string> read_small(const std::string& name) {
    return wait_for<std::string>(loop(), [&](auto done) { store_->read(name, std::move(done)); });
  }
  Result<std::vector<std::string>> list(const std::string& folder) {
    return wait_for<std::vector<std::string>>(loop(), [&](auto done) { store_->list(folder, std::move(done)); });
  }
  Result<bool> remove(const std::vector<std::string>& names) {
    return wait_for<bool>(loop(), [&](auto done) { store_->remove(names, std::move(done)); });
  }
};

INSTANTIATE_TEST_SUITE_P(Stores, CheckpointStoreTest, testing::Bool(),
                         [](const auto& test) { return test.param ? "Directory" : "Fake"; });

StateRun some_run() {
  StateRun run;
  run.add(StatePartition(0), "a", "1");
  run.add(StatePartition(0), "b", "", true);
  run.add(StatePartition(1), "", "empty key");
  run.add(StatePartition(1), std::string_view("\0\xff", 2), "binary");
  run.add(StatePartition(300), "z", std::string(70'000, 'v'));
  return run;
}

TEST_P(CheckpointStoreTest, AStateFileGivesBackThePartitionsAskedFor) {
  const StateFile file = write("job/1/state", some_run());
  EXPECT_EQ(file.name, "job/1/state");
  EXPECT_EQ(file.entries, 5u);
  EXPECT_EQ(file.size, disk_->bytes("job/1/state").size());
  EXPECT_THAT(read(file, partitions({0})), ElementsAre("0 a=1", "0 b-"));
  EXPECT_THAT(read(file, partitions({1})), ElementsAre("1 =empty key", std::string("1 \0\xff=binary", 11)));
  EXPECT_THAT(read(file, partitions({0, 2, 300})), ElementsAre("0 a=1", "0 b-", "300 z=" + std::string(70'000, 'v')));
  EXPECT_THAT(read(file, partitions({2})), ElementsAre());
  store_ = disk_->open();
  EXPECT_EQ(read(file, partitions({0, 1, 300})).size(), 5u);
}

TEST_P(CheckpointStoreTest, SeveralRunsInNoOrderBecomeOneFileInOrder) {
  const std::string beginning = "sixteen bytes and more";
  std::vector<StateRun> runs(3);
  runs[0].add(StatePartition(2), beginning + "b", "1");
  runs[0].add(StatePartition(0), "k", "2");
  runs[0].add(StatePartition(2), beginning, "3");
  runs[2].set_prefix("k");
  runs[2].add(StatePartition(1), std::string_view("\0", 1), "4");
  runs[2].add(StatePartition(0), "\xff", "", true);
  runs[2].add(StatePartition(1), "", "5");
  runs[2].add(StatePartition(0), "a", "6");
  runs[2].set_prefix("");
  runs[2].add(StatePartition(2), beginning + "a", "7");
  const auto file =
      wait_for<StateFile>(loop(), [&](auto done) { store_->write_state("state", std::move(runs), std::move(done)); });
  ASSERT_TRUE(file.has_value()) << file.error();
  EXPECT_EQ(file->entries, 8u);
  EXPECT_THAT(read(*file, partitions({0, 1, 2})),
              ElementsAre("0 k=2", "0 ka=6", "0 k\xff-", "1 k=5", std::string("1 k\0=4", 6), "2 " + beginning + "=3",
                          "2 " + beginning + "a=7", "2 " + beginning + "b=1"));
}

TEST_P(CheckpointStoreTest, ARunOfNoEntriesIsAFileToo) {
  const StateFile file = write("empty", StateRun());
  EXPECT_EQ(file.entries, 0u);
  EXPECT_THAT(read(file, partitions({0, 1})), ElementsAre());
  auto merged = try_merge({file, file}, partitions({0}));
  ASSERT_TRUE(merged.has_value()) << merged.error();
  EXPECT_THAT(read(*merged, partitions({0})), ElementsAre());
}

TEST_P(CheckpointStoreTest, AFileOfTheSameNameIsReplaced) {
  const StateFile old = write("state", some_run());
  StateRun run;
  run.add(StatePartition(7), "k", "v");
  const StateFile file = write("state", std::move(run));
  EXPECT_THAT(read(file, partitions({0, 7})), ElementsAre("7 k=v"));
  auto stale = try_read(old, partitions({0}));
  ASSERT_FALSE(stale.has_value());
  EXPECT_EQ(stale.error().code, ErrorCode::kCorrupt);
}

TEST_P(CheckpointStoreTest, InAMergeTheYoungestEntryWinsAndRemovalsEnd) {
  StateRun base;
  base.add(StatePartition(0), "a", "1");
  base.add(StatePartition(0), "b", "1");
  base.add(StatePartition(0), "c", "1");
  base.add(StatePartition(1), "a", "1");
  base.add(StatePartition(2), "a", "not asked for");
  StateRun second;
  second.add(StatePartition(0), "b", "2");
  second.add(StatePartition(0), "c", "", true);
  second.add(StatePartition(1), "a", "", true);
  StateRun third;
  third.add(StatePartition(0), "b", "3");
  third.add(StatePartition(0), "d", "3");
  third.add(StatePartition(1), "a", "back");
  third.add(StatePartition(1), "e", "", true);
  const std::vector<StateFile> files = {write("f1", std::move(base)), write("f2", std::move(second)),
                                        write("f3", std::move(third))};
  auto merged = try_merge(files, partitions({0, 1}));
  ASSERT_TRUE(merged.has_value()) << merged.error();
  EXPECT_EQ(merged->entries, 4u);
  EXPECT_THAT(read(*merged, partitions({0, 1, 2})), ElementsAre("0 a=1", "0 b=3", "0 d=3", "1 a=back"));
}

TEST_P(CheckpointStoreTest, AMergeOfRandomFilesEqualsAFoldOverAMap) {
  std::mt19937 random(7);
  std::map<std::pair<StatePartition, std::string>, std::string> truth;
  std::vector<StateFile> files;
  for (int number = 0; number < 8; ++number) {
    std::map<std::pair<StatePartition, std::string>, std::optional<std::string>> changes;
    for (int entry = 0; entry < 200; ++entry) {
      const StatePartition partition(static_cast<int32_t>(random() % 4));
      const std::string key = std::to_string(random() % 150);
      if (random() % 4 == 0) {
        changes[{partition, key}] = std::nullopt;
        truth.erase({partition, key});
      } else {
        truth[{partition, key}] = *(changes[{partition, key}] = std::to_string(random()));
      }
    }
    StateRun run;
    for (const auto& [key, value] : changes) run.add(key.first, key.second, value.value_or(""), !value);
    files.push_back(write("increment" + std::to_string(number), std::move(run)));
  }
  auto merged = try_merge(files, partitions({0, 1, 2, 3}));
  ASSERT_TRUE(merged.has_value()) << merged.error();
  StateRun expected;
  for (const auto& [key, value] : truth) expected.add(key.first, key.second, value);
  EXPECT_EQ(read(*merged, partitions({0, 1, 2, 3})), show(expected));
}

TEST_P(CheckpointStoreTest, AFileCutAtAnyLengthIsRefusedByName) {
  StateRun run;
  for (int key = 0; key < 20; ++key) run.add(StatePartition(0), std::to_string(100 + key), "value");
  const StateFile file = write("job/state", std::move(run));
  const std::string whole = disk_->bytes("job/state");
  for (size_t length = 0; length < whole.size(); ++length) {
    disk_->set_bytes("job/state", whole.substr(0, length));
    auto read_back = try_read(file, partitions({0}));
    ASSERT_FALSE(read_back.has_value()) << "cut at " << length;
    ASSERT_EQ(read_back.error().code, ErrorCode::kCorrupt);
    ASSERT_THAT(read_back.error().message, HasSubstr("job/state"));
  }
  disk_->set_bytes("job/state", whole + "x");
  EXPECT_EQ(try_read(file, partitions({0})).error().code, ErrorCode::kCorrupt);
  auto merged = try_merge({file}, partitions({0}));
  ASSERT_FALSE(merged.has_value());
  EXPECT_EQ(merged.error().code, ErrorCode::kCorrupt);
  disk_->set_bytes("job/state", whole);
  EXPECT_EQ(read(file, partitions({0})).size(), 20u);
}

TEST_P(CheckpointStoreTest, OneFlippedBitAnywhereIsRefusedByName) {
  StateRun run;
  for (int key = 0; key < 5; ++key) run.add(StatePartition(0), std::to_string(key), "value");
  const StateFile file = write("job/state", std::move(run));
  const std::string whole = disk_->bytes("job/state");
  for (size_t byte = 0; byte < whole.size(); ++byte) {
    std::string damaged = whole;
    damaged[byte] = static_cast<char>(damaged[byte] ^ (1 << (byte * 5 % 8)));
    disk_->set_bytes("job/state", damaged);
    auto read_back = try_read(file, partitions({0}));
    ASSERT_FALSE(read_back.has_value()) << "byte " << byte;
    ASSERT_EQ(read_back.error().code, ErrorCode::kCorrupt);
    ASSERT_THAT(read_back.error().message, HasSubstr("job/state"));
  }
}

TEST_P(CheckpointStoreTest, AMissingFileIsNamed) {
  const StateFile file = write("job/state", some_run());
  ASSERT_TRUE(remove({"job/state"}).value());
  auto gone = try_read(file, partitions({0}));
  ASSERT_FALSE(gone.has_value());
  EXPECT_EQ(gone.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(gone.error().message, HasSubstr("job/state"));
  EXPECT_EQ(try_merge({file}, partitions({0})).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(read_small("nothing").error().code, ErrorCode::kNotFound);
}

TEST_P(CheckpointStoreTest, ASmallFileIsCreatedOnceAndNeverTouchedAgain) {
  EXPECT_EQ(create("job/manifest", "first"), true);
  EXPECT_EQ(create("job/manifest", "second"), false);
  store_ = disk_->open();
  EXPECT_EQ(create("job/manifest", "third"), false);
  EXPECT_EQ(read_small("job/manifest").value(), "first");
  EXPECT_EQ(create("job/empty", ""), true);
  EXPECT_EQ(read_small("job/empty").value(), "");
}

TEST_P(CheckpointStoreTest, ListingGoesBelowAFolderAndRemovingTwiceIsSuccess) {
  for (const char* name : {"a/2", "a/1/x", "b", "a.b/c"}) ASSERT_EQ(create(name, "x"), true);
  write("a/10", some_run());
  EXPECT_THAT(list("a").value(), ElementsAre("a/1/x", "a/10", "a/2"));
  EXPECT_THAT(list("").value(), ElementsAre("a.b/c", "a/1/x", "a/10", "a/2", "b"));
  EXPECT_THAT(list("none").value(), ElementsAre());
  EXPECT_TRUE(remove({"a/1/x", "a/2", "never/there"}).value());
  EXPECT_TRUE(remove({"a/1/x"}).value());
  EXPECT_THAT(list("a").value(), ElementsAre("a/10"));
  EXPECT_EQ(create("a/1/x", "again"), true);
}

TEST_P(CheckpointStoreTest, NamesThatLeaveTheStoreAreRefused) {
  for (const std::string name : {"/etc/passwd", "..", "../x", "a/../../x", "a//b", "a/", "", ".", "a/./b", ".tmp/x"}) {
    EXPECT_EQ(try_write(name, some_run()).error().code, ErrorCode::kInvalid) << name;
    EXPECT_EQ(try_read({name, 1, 1, 1}, partitions({0})).error().code, ErrorCode::kInvalid) << name;
    EXPECT_EQ(try_merge({{name, 1, 1, 1}}, partitions({0})).error().code, ErrorCode::kInvalid) << name;
    EXPECT_EQ(create(name, "x").error().code, ErrorCode::kInvalid) << name;
    EXPECT_EQ(read_small(name).error().code, ErrorCode::kInvalid) << name;
    EXPECT_EQ(remove({name}).error().code, ErrorCode::kInvalid) << name;
    if (!name.empty()) {
      EXPECT_EQ(list(name).error().code, ErrorCode::kInvalid) << name;
    }
  }
}

TEST_P(CheckpointStoreTest, ACrashInBetweenLeavesOnlyWholeFiles) {
  for (int number = 0; number < 10; ++number) {
    store_->write_state("state" + std::to_string(number), {some_run()}, [](Result<StateFile>) { FAIL(); });
  }
  store_ = disk_->open();
  const std::vector<std::string> names = list("").value();
  for (const std::string& name : names) EXPECT_FALSE(disk_->bytes(name).empty());
}

TEST(FileCheckpointStoreTest, OnlyAnAbsoluteFileUriIsTaken) {
  TestLoop loop(TestLoop::Time::kReal);
  for (const char* uri : {"", "file://", "file:///", "file://host/x", "/tmp/x", "s3://x/y"}) {
    auto store = FileCheckpointStore::open(loop, uri, IfMissing::kMake);
    ASSERT_FALSE(store.has_value()) << uri;
    EXPECT_EQ(store.error().code, ErrorCode::kInvalid);
    EXPECT_THAT(store.error().message, HasSubstr("file:///DIR"));
  }
  auto store = FileCheckpointStore::open(loop, "file:///proc/none", IfMissing::kMake);
  ASSERT_FALSE(store.has_value());
  EXPECT_THAT(store.error().message, HasSubstr("/proc"));
}

TEST(FileCheckpointStoreTest, AFullDiskLeavesNothingBehindAndGoesOnWhenThereIsSpace) {
  TemporaryDirectory directory;
  if (!directory.mount_small(2)) {
    GTEST_LOG_(WARNING) << "no right to mount a small file system; a store on /dev/full stands for it";
    TestLoop loop(TestLoop::Time::kReal);
    auto store = FileCheckpointStore::open(loop, "file:///dev/full/x", IfMissing::kMake);
    EXPECT_FALSE(store.has_value());
    return;
  }
  TestLoop loop(TestLoop::Time::kReal);
  auto store = FileCheckpointStore::open(loop, "file://" + directory.path(), IfMissing::kMake).value();
  const auto big = [] {
    StateRun run;
    for (int key = 0; key < 50'000; ++key)
      run.add(StatePartition(0), std::to_string(100'000 + key), std::string(40, 'v'));
    return run;
  };
  const auto written =
      wait_for<StateFile>(loop, [&](auto done) { store->write_state("big", {big()}, std::move(done)); });
  ASSERT_FALSE(written.has_value());
  EXPECT_EQ(written.error().code, ErrorCode::kIo);
  EXPECT_THAT(written.error().message, HasSubstr(directory.path()));
  EXPECT_THAT(written.error().message, HasSubstr("free some space"));
  const auto created =
      wait_for<bool>(loop, [&](auto done) { store->create("manifest", std::string(3 << 20, 'x'), std::move(done)); });
  ASSERT_FALSE(created.has_value());
  EXPECT_THAT(created.error().message, HasSubstr("free some space"));
  EXPECT_TRUE(std::filesystem::is_empty(directory.path() + "/.tmp"));
  EXPECT_EQ(wait_for<bool>(loop, [&](auto done) { store->create("manifest", "small", std::move(done)); }), true);
}

TEST(FileCheckpointStoreTest, AStoreThatIsNotMountedForAMomentIsAwayAndNotDamaged) {
  TemporaryDirectory directory;
  const std::string root = directory.path() + "/share";
  TestLoop loop(TestLoop::Time::kReal);
  auto store = FileCheckpointStore::open(loop, "file://" + root, IfMissing::kMake).value();
  const auto write = [&](const std::string& name) {
    StateRun run;
    run.add(StatePartition(0), "key", "value");
    return wait_for<StateFile>(loop, [&](auto done) { store->write_state(name, {std::move(run)}, std::move(done)); });
  };
  const auto read = [&](const StateFile& file) {
    return wait_for<StateRun>(loop, [&](auto done) { store->read_state(file, {StatePartition(0)}, std::move(done)); });
  };
  const StateFile file = write("a/state").value();
  std::filesystem::rename(root, directory.path() + "/away");
  std::filesystem::create_directory(root);  // the mount point

  const std::vector<Error> errors = {
      read(file).error(),
      write("a/more").error(),
      wait_for<bool>(loop, [&](auto done) { store->create("manifest", "x", std::move(done)); }).error(),
      wait_for<std::string>(loop, [&](auto done) { store->read("manifest", std::move(done)); }).error(),
      wait_for<std::vector<std::string>>(loop, [&](auto done) { store->list("a", std::move(done)); }).error(),
      wait_for<bool>(loop, [&](auto done) { store->remove({"a/state"}, std::move(done)); }).error()};
  for (const Error& error : errors) {
    EXPECT_EQ(error.code, ErrorCode::kUnavailable) << error;
    EXPECT_THAT(error.message, HasSubstr("not mounted at " + root));
  }
  EXPECT_TRUE(std::filesystem::is_empty(root));

  std::filesystem::remove(root);
  std::filesystem::rename(directory.path() + "/away", root);
  EXPECT_EQ(read(file).value().size(), 1u);
  std::filesystem::remove(root + "/a/state");
  EXPECT_EQ(read(file).error().code, ErrorCode::kNotFound);
}

TEST(FileCheckpointStoreTest, AStoreThatIsOpenedWhileItIsNotMountedIsNotMadeInTheMountPoint) {
  TemporaryDirectory directory;
  const std::string root = directory.path() + "/share";
  TestLoop loop(TestLoop::Time::kReal);
  auto master = FileCheckpointStore::open(loop, "file://" + root, IfMissing::kMake).value();
  const auto create = [&](FileCheckpointStore& store, const std::string& name) {
    return wait_for<bool>(loop, [&](auto done) { store.create(name, "x", std::move(done)); });
  };
  std::filesystem::rename(root, directory.path() + "/away");
  std::filesystem::create_directory(root);  // the mount point

  auto late = FileCheckpointStore::open(loop, "file://" + root, IfMissing::kWait).value();
  for (FileCheckpointStore* store : {late.get(), master.get()}) {
    const Result<bool> created = create(*store, "manifest");
    ASSERT_FALSE(created.has_value());
    EXPECT_EQ(created.error().code, ErrorCode::kUnavailable);
    EXPECT_THAT(created.error().message, HasSubstr("not mounted at " + root + "; mount it"));
  }
  const auto refused = FileCheckpointStore::open(loop, "file://" + root, IfMissing::kRefuse);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, ErrorCode::kUnavailable);
  EXPECT_THAT(refused.error().message, HasSubstr("mount it at " + root));
  EXPECT_TRUE(std::filesystem::is_empty(root));

  std::filesystem::remove(root);
  std::filesystem::rename(directory.path() + "/away", root);
  EXPECT_EQ(create(*late, "manifest"), true);
  EXPECT_TRUE(FileCheckpointStore::open(loop, "file://" + root, IfMissing::kRefuse).has_value());
}

TEST(FileCheckpointStoreTest, LeftoversOfDeadWritersAreSweptAfterAnHour) {
  TemporaryDirectory directory;
  TestLoop loop(TestLoop::Time::kReal);
  FileCheckpointStore::open(loop, "file://" + directory.path(), IfMissing::kMake).value();
  const std::string old = directory.path() + "/.tmp/old";
  const std::string young = directory.path() + "/.tmp/young";
  std::ofstream(old) << "x";
  std::ofstream(young) << "x";
  std::filesystem::last_write_time(old, std::filesystem::file_time_type::clock::now() - std::chrono::hours(2));
  auto store = FileCheckpointStore::open(loop, "file://" + directory.path(), IfMissing::kMake).value();
  EXPECT_FALSE(std::filesystem::exists(old));
  EXPECT_TRUE(std::filesystem::exists(young));
}

}  // namespace
}  // namespace millrace
