// The suite of MetadataStore, on the fake and on RocksDB; then what only RocksDB in a directory can do.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <memory>

#include "adapters/rocksdb_metadata_store.h"
#include "tests/conformance/temporary_directory.h"
#include "tests/conformance/test_loop.h"
#include "tests/fakes/fake_metadata_store.h"

namespace millrace {
namespace {

using Pairs = std::vector<std::pair<std::string, std::string>>;
using testing::HasSubstr;

// One disk; opening it is a process' start, destroying the store its crash.
class Disk {
 public:
  virtual ~Disk() = default;
  virtual Result<std::unique_ptr<MetadataStore>> open() = 0;
  virtual void set_failing(bool failing) = 0;
  virtual TestLoop& loop() = 0;
};

class FakeDisk : public Disk {
 public:
  FakeDisk() {
    disk_->timing.latency = [] { return std::chrono::milliseconds(1); };
    disk_->timing.operation_lands = [landed = 0]() mutable { return ++landed % 7 != 0; };
  }
  Result<std::unique_ptr<MetadataStore>> open() override {
    auto store = FakeMetadataStore::open(loop_, disk_);
    if (!store) return std::unexpected(store.error());
    return std::move(*store);
  }
  void set_failing(bool failing) override {
    disk_->failure.reset();
    if (failing) disk_->failure = Error{ErrorCode::kIo, "the disk is full"};
  }
  TestLoop& loop() override { return loop_; }

 private:
  TestLoop loop_{TestLoop::Time::kVirtual};
  std::shared_ptr<FakeMetadataDisk> disk_ = std::make_shared<FakeMetadataDisk>();
};

class RealDisk : public Disk {
 public:
  ~RealDisk() override { set_failing(false); }
  Result<std::unique_ptr<MetadataStore>> open() override {
    auto store = RocksdbMetadataStore::open(loop_, directory_.path() + "/data");
    if (!store) return std::unexpected(store.error());
    return std::move(*store);
  }
  // No file may grow: writes fail with EFBIG.
  void set_failing(bool failing) override {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{failing ? 1 : RLIM_INFINITY, RLIM_INFINITY};
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
  }
  TestLoop& loop() override { return loop_; }

 private:
  TemporaryDirectory directory_;
  TestLoop loop_{TestLoop::Time::kReal};
};

WriteSet put(const std::string& key, const std::string& value) {
  WriteSet set;
  set.put(key, value);
  return set;
}

Status commit(TestLoop& loop, MetadataStore& store, WriteSet set) {
  return wait_for<void>(loop, [&](auto done) { store.commit(std::move(set), std::move(done)); });
}

class MetadataStoreTest : public testing::TestWithParam<bool> {
 protected:
  MetadataStoreTest() {
    if (GetParam()) {
      disk_ = std::make_unique<RealDisk>();
    } else {
      disk_ = std::make_unique<FakeDisk>();
    }
    open();
  }
  void open() {
    store_.reset();
    auto opened = disk_->open();
    ASSERT_TRUE(opened.has_value()) << opened.error();
    store_ = std::move(*opened);
  }
  TestLoop& loop() { return disk_->loop(); }
  std::optional<std::string> get(const std::string& key) {
    auto value = store_->get(key);
    EXPECT_TRUE(value.has_value()) << value.error();
    return value ? *value : std::nullopt;
  }
  Pairs scan(const std::string& prefix, size_t limit = 100, const std::string& from = "") {
    auto pairs = store_->scan(prefix, limit, from);
    EXPECT_TRUE(pairs.has_value()) << pairs.error();
    return pairs ? *pairs : Pairs();
  }

  std::unique_ptr<Disk> disk_;
  std::unique_ptr<MetadataStore> store_;
};

INSTANTIATE_TEST_SUITE_P(Stores, MetadataStoreTest, testing::Bool(),
                         [](const auto& test) { return test.param ? "RocksDB" : "Fake"; });

TEST_P(MetadataStoreTest, WhatWasAnsweredIsThereAfterACrash) {
  const std::string binary("\0\xff\n", 3);
  ASSERT_TRUE(commit(loop(), *store_, put("a", binary)));
  open();
  EXPECT_EQ(get("a"), binary);
  EXPECT_EQ(get("b"), std::nullopt);
}

TEST_P(MetadataStoreTest, ReadsSeeCommitsThatAreNotDurableYet) {
  ASSERT_TRUE(commit(loop(), *store_, put("k1", "old")));
  ASSERT_TRUE(commit(loop(), *store_, put("k3", "three")));
  WriteSet set;
  set.put("k2", "two");
  set.remove("k1");
  bool answered = false;
  store_->commit(std::move(set), [&](Status status) { answered = status.has_value(); });
  store_->commit(put("k4", "four"), [](Status) {});
  EXPECT_EQ(get("k1"), std::nullopt);
  EXPECT_EQ(get("k2"), "two");
  EXPECT_EQ(scan("k"), (Pairs{{"k2", "two"}, {"k3", "three"}, {"k4", "four"}}));
  EXPECT_EQ(scan("k", 2), (Pairs{{"k2", "two"}, {"k3", "three"}}));
  ASSERT_TRUE(loop().run_until([&] { return answered; }));
  EXPECT_EQ(get("k1"), std::nullopt);
  EXPECT_EQ(get("k2"), "two");
}

TEST_P(MetadataStoreTest, AnswersComeInTheOrderOfTheCalls) {
  std::vector<int> order;
  for (int number = 0; number < 300; ++number) {
    store_->commit(put("n", std::to_string(number)), [&order, number](Status status) {
      ASSERT_TRUE(status);
      order.push_back(number);
    });
  }
  ASSERT_TRUE(loop().run_until([&] { return order.size() == 300; }));
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
  EXPECT_EQ(get("n"), "299");
  open();
  EXPECT_EQ(get("n"), "299");
}

TEST_P(MetadataStoreTest, ALaterWriteOfTheSameKeyInASetWins) {
  WriteSet set;
  set.put("a", "1");
  set.remove("a");
  set.put("b", "1");
  set.put("b", "2");
  ASSERT_TRUE(commit(loop(), *store_, std::move(set)));
  EXPECT_EQ(get("a"), std::nullopt);
  EXPECT_EQ(get("b"), "2");
}

TEST_P(MetadataStoreTest, ScansGoUpWithinThePrefixFromWhereTheyAreTold) {
  WriteSet set;
  for (const char* key : {"a/1", "a/2", "a/3", "b/1", "a"}) set.put(key, key);
  ASSERT_TRUE(commit(loop(), *store_, std::move(set)));
  EXPECT_EQ(scan("a/"), (Pairs{{"a/1", "a/1"}, {"a/2", "a/2"}, {"a/3", "a/3"}}));
  EXPECT_EQ(scan("a/", 1), (Pairs{{"a/1", "a/1"}}));
  EXPECT_EQ(scan("a/", 100, "a/2"), (Pairs{{"a/2", "a/2"}, {"a/3", "a/3"}}));
  EXPECT_EQ(scan("a/", 100, "A"), (Pairs{{"a/1", "a/1"}, {"a/2", "a/2"}, {"a/3", "a/3"}}));
  EXPECT_EQ(scan("a/", 100, "b"), Pairs());
  EXPECT_EQ(scan("c"), Pairs());
}

TEST_P(MetadataStoreTest, ASecondOpenerIsRefused) {
  auto second = disk_->open();
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().code, ErrorCode::kExists);
}

TEST_P(MetadataStoreTest, ACrashLeavesAFirstPartOfWhatWasNotAnswered) {
  for (int number = 0; number < 50; ++number)
    store_->commit(put("n" + std::to_string(100 + number), "x"), [](Status) {});
  open();
  const Pairs kept = scan("n");
  for (size_t index = 0; index < kept.size(); ++index) EXPECT_EQ(kept[index].first, "n" + std::to_string(100 + index));
}

TEST_P(MetadataStoreTest, AfterAnErrorNothingIsTakenUntilItWasToldAndThenItGoesOn) {
  ASSERT_TRUE(commit(loop(), *store_, put("a", "before")));
  disk_->set_failing(true);
  std::vector<ErrorCode> failures;
  for (int number = 0; number < 20; ++number) {
    store_->commit(put("failed", std::to_string(number)), [&](Status status) {
      ASSERT_FALSE(status.has_value());
      failures.push_back(status.error().code);
    });
  }
  ASSERT_TRUE(loop().run_until([&] { return failures.size() == 20; }));
  EXPECT_THAT(failures, testing::Each(ErrorCode::kIo));
  disk_->set_failing(false);
  const Status after = commit(loop(), *store_, put("b", "after"));
  ASSERT_TRUE(after) << after.error();
  EXPECT_EQ(get("a"), "before");
  EXPECT_EQ(get("b"), "after");
  open();
  EXPECT_EQ(get("a"), "before");
  EXPECT_EQ(get("b"), "after");
}

TEST_P(MetadataStoreTest, ARepeatedSetMayBeGivenFromWithinTheAnswerOfTheFailedOne) {
  disk_->set_failing(true);
  bool repeated = false;
  std::optional<Status> second;
  store_->commit(put("a", "1"), [&](Status status) {
    ASSERT_FALSE(status.has_value());
    disk_->set_failing(false);
    store_->commit(put("a", "1"), [&](Status again) {
      EXPECT_TRUE(again) << again.error();
      repeated = true;
    });
  });
  store_->commit(put("a", "2"), [&](Status status) { second = status; });
  ASSERT_TRUE(loop().run_until([&] { return repeated && second; }));
  EXPECT_FALSE(second->has_value()) << "it was called before the failure was told";
  EXPECT_EQ(get("a"), "1");
}

TEST(RocksdbMetadataStoreTest, ARefusalNamesTheDirectoryAndTheProcess) {
  TemporaryDirectory directory;
  TestLoop loop(TestLoop::Time::kReal);
  auto first = RocksdbMetadataStore::open(loop, directory.path());
  ASSERT_TRUE(first.has_value()) << first.error();
  auto second = RocksdbMetadataStore::open(loop, directory.path());
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().message, "data directory " + directory.path() + " is in use by millrace-master pid " +
                                        std::to_string(::getpid()) + "; stop it or give another --data_dir");
}

// What the other process of the next test does: it stores something and says so, then holds the directory.
TEST(RocksdbMetadataStoreTest, DISABLED_HoldADirectory) {
  TestLoop loop(TestLoop::Time::kReal);
  auto store = RocksdbMetadataStore::open(loop, std::getenv("HELD_DIRECTORY"));
  const bool stored = store && commit(loop, **store, put("a", "1"));
  ASSERT_EQ(::write(std::atoi(std::getenv("READY_DESCRIPTOR")), stored ? "y" : "n", 1), 1);
  for (;;) ::pause();
}

TEST(RocksdbMetadataStoreTest, AKilledProcessLeavesNoLock) {
  TemporaryDirectory directory;
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const std::string held = "HELD_DIRECTORY=" + directory.path();
  const std::string descriptor = "READY_DESCRIPTOR=" + std::to_string(ready[1]);
  const pid_t child = ::fork();
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    std::string words[] = {"other", "--gtest_also_run_disabled_tests", "--gtest_filter=*DISABLED_HoldADirectory"};
    char* const arguments[] = {words[0].data(), words[1].data(), words[2].data(), nullptr};
    char* const environment[] = {const_cast<char*>(held.c_str()), const_cast<char*>(descriptor.c_str()), nullptr};
    ::execve("/proc/self/exe", arguments, environment);
    ::_exit(127);
  }
  ::close(ready[1]);
  char answer = 0;
  ASSERT_EQ(::read(ready[0], &answer, 1), 1);
  ::close(ready[0]);
  EXPECT_EQ(answer, 'y');
  TestLoop loop(TestLoop::Time::kReal);
  auto refused = RocksdbMetadataStore::open(loop, directory.path());
  ASSERT_FALSE(refused.has_value());
  EXPECT_THAT(refused.error().message, HasSubstr("pid " + std::to_string(child)));
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  auto store = RocksdbMetadataStore::open(loop, directory.path());
  ASSERT_TRUE(store.has_value()) << store.error();
  EXPECT_EQ((*store)->get("a").value(), "1");
}

TEST(RocksdbMetadataStoreTest, AFullDiskIsNamedAndLeftBehindWhenThereIsSpaceAgain) {
  TemporaryDirectory directory;
  if (!directory.mount_small(16)) {
    // Without the right to mount, writes that fail otherwise take this path: see the suite above.
    GTEST_LOG_(WARNING) << "no right to mount a small file system; only failing writes are tested";
    return;
  }
  const std::string ballast = directory.path() + "/ballast";
  std::ofstream(ballast) << std::string(4 << 20, 'x');
  TestLoop loop(TestLoop::Time::kReal);
  auto store = RocksdbMetadataStore::open(loop, directory.path());
  ASSERT_TRUE(store.has_value()) << store.error();
  int stored = 0;
  Status status;
  const std::string value(100'000, 'v');
  for (; stored < 1000; ++stored) {
    status = commit(loop, **store, put("k" + std::to_string(1000 + stored), value));
    if (!status) break;
  }
  ASSERT_FALSE(status.has_value()) << "the disk did not become full";
  EXPECT_EQ(status.error().code, ErrorCode::kIo);
  EXPECT_THAT(status.error().message, HasSubstr("the disk of " + directory.path()));
  EXPECT_THAT(status.error().message, HasSubstr("free some space"));
  EXPECT_EQ((*store)->scan("k", 2000, "").value().size(), static_cast<size_t>(stored)) << "reads go on";

  std::filesystem::remove(ballast);
  const Status after = commit(loop, **store, put("z", "after"));
  ASSERT_TRUE(after) << after.error();
  store->reset();
  store = RocksdbMetadataStore::open(loop, directory.path());
  ASSERT_TRUE(store.has_value()) << store.error();
  EXPECT_EQ((*store)->scan("k", 2000, "").value().size(), static_cast<size_t>(stored));
  EXPECT_EQ((*store)->get("z").value(), "after");
}

TEST(RocksdbMetadataStoreTest, DamagedMetadataIsRefusedByName) {
  TemporaryDirectory directory;
  TestLoop loop(TestLoop::Time::kReal);
  RocksdbMetadataStore::open(loop, directory.path()).value().reset();
  std::ofstream(directory.path() + "/metadata/CURRENT") << "nonsense";
  auto store = RocksdbMetadataStore::open(loop, directory.path());
  ASSERT_FALSE(store.has_value());
  EXPECT_EQ(store.error().code, ErrorCode::kCorrupt);
  EXPECT_THAT(store.error().message, HasSubstr(directory.path()));
}

TEST(RocksdbMetadataStoreTest, ADirectoryThatCannotBeMadeIsNamed) {
  TestLoop loop(TestLoop::Time::kReal);
  auto store = RocksdbMetadataStore::open(loop, "/proc/none/data");
  ASSERT_FALSE(store.has_value());
  EXPECT_EQ(store.error().code, ErrorCode::kIo);
  EXPECT_THAT(store.error().message, HasSubstr("/proc/none/data"));
}

}  // namespace
}  // namespace millrace
