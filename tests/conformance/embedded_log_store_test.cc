// What the owner of embedded logs promises: durable answers, repeated appends recognised, any crash survived.
#include "adapters/embedded_log_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <map>
#include <thread>

#include "adapters/embedded_log.h"
#include "adapters/system_clock.h"
#include "adapters/system_random.h"
#include "common/runtime/event_loop.h"
#include "tests/conformance/chunk_collector.h"

namespace millrace {
namespace {

namespace fs = std::filesystem;
constexpr LogPartition kPartition{0};

class EmbeddedLogStoreTest : public testing::Test {
 public:
  EmbeddedLogStoreTest() : loop_("store-test") {
    char name[] = "/tmp/millrace-store-XXXXXX";
    root_ = mkdtemp(name);
    loop_.start();
    open({});
  }
  ~EmbeddedLogStoreTest() override {
    loop_.stop();
    loop_.join();
    store_ = nullptr;
    fs::remove_all(root_);
  }

  void open(const EmbeddedLogOptions& options) {
    store_ = nullptr;
    auto opened = EmbeddedLogStore::open(root_, options, clock_, random_);
    ASSERT_TRUE(opened) << opened.error();
    store_ = std::move(*opened);
    ASSERT_EQ(store_->open_log("lines", 1).value_or(0), 1);
  }

  Result<OffsetRange> append(const std::vector<std::string>& values, AppendIdentity identity = {}) {
    return store_->append("lines", kPartition, {values}, identity);
  }

  std::vector<std::string> read(int64_t from, int64_t until) {
    ChunkCollector collector;
    collect(collector, from, until);
    return collector.values();
  }

  void collect(ChunkCollector& collector, int64_t from, int64_t until) {
    std::unique_ptr<Log> log;
    std::unique_ptr<LogReader> reader;
    loop_.run_and_wait([&] {
      log = std::make_unique<EmbeddedLog>(root_, "lines", loop_);
      reader = log->open({kPartition, Offset(from), Offset(until), 1 << 20}, &collector);
    });
    EXPECT_TRUE(collector.wait_for_offset(Offset(until))) << collector.last_error();
    loop_.run_and_wait([&] {
      reader = nullptr;
      log = nullptr;
    });
  }

  // What an earlier boot of the machine announced is told by the id in the page.
  void reboot() {
    store_ = nullptr;
    std::fstream page(root_ / "lines" / "announcement", std::ios::binary | std::ios::in | std::ios::out);
    page.seekp(16);
    page.write("another boot's id", 16);
  }

  fs::path folder() const { return root_ / "lines" / "0"; }
  fs::path newest_segment() const { return segment_path(folder(), list_segments(folder())->back()); }

  fs::path root_;
  EventLoop loop_;
  SystemClock clock_;
  SystemRandom random_;
  std::unique_ptr<EmbeddedLogStore> store_;
};

TEST_F(EmbeddedLogStoreTest, goes_on_where_it_was_after_a_restart) {
  EXPECT_EQ(append(numbered("v", 0, 10))->from, Offset(0));
  open({});
  EXPECT_EQ(append(numbered("v", 10, 20))->from, Offset(10));
  open({});
  EXPECT_EQ(read(0, 20), numbered("v", 0, 20));
}

TEST_F(EmbeddedLogStoreTest, has_one_owner_at_a_time) {
  const auto second = EmbeddedLogStore::open(root_, {}, clock_, random_);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::kUnavailable);
}

TEST_F(EmbeddedLogStoreTest, cuts_off_what_a_crash_left_half_written) {
  ASSERT_TRUE(append(numbered("v", 0, 10)));
  const uint64_t whole = fs::file_size(newest_segment());
  std::ifstream file(newest_segment(), std::ios::binary);
  const std::string batch((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  for (const size_t torn : {size_t{1}, size_t{20}, size_t{61}, batch.size() - 1}) {
    std::ofstream(newest_segment(), std::ios::binary | std::ios::app) << batch.substr(0, torn);
    open({});
    EXPECT_EQ(fs::file_size(newest_segment()), whole);
  }
  std::ofstream(newest_segment(), std::ios::binary | std::ios::app) << std::string(500, '\0');
  open({});
  EXPECT_EQ(append(numbered("v", 10, 12))->from, Offset(10));
  EXPECT_EQ(read(0, 12), numbered("v", 0, 12));
}

TEST_F(EmbeddedLogStoreTest, refuses_a_log_whose_durable_bytes_were_damaged) {
  ASSERT_TRUE(append(numbered("v", 0, 10)));
  ASSERT_TRUE(append(numbered("v", 10, 20)));
  const fs::path segment = newest_segment();
  store_ = nullptr;
  {
    std::fstream file(segment, std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(100);
    file.put('!');
  }
  auto opened = EmbeddedLogStore::open(root_, {}, clock_, random_);
  ASSERT_TRUE(opened) << opened.error();  // other logs are served
  const auto refused = (*opened)->append("lines", kPartition, {std::vector<std::string>{"x"}}, {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kCorrupt) << refused.error();
  EXPECT_THAT(refused.error().message, testing::HasSubstr(segment.string()));
}

TEST_F(EmbeddedLogStoreTest, refuses_a_log_that_lost_durable_bytes_by_a_reboot_however_often_it_is_asked) {
  ASSERT_TRUE(append(numbered("v", 0, 10)));
  ASSERT_TRUE(append(numbered("v", 10, 20)));
  reboot();
  open({});
  EXPECT_EQ(append(numbered("v", 20, 30))->from, Offset(20));
  const fs::path segment = newest_segment();
  const fs::path copy = root_ / "copy";
  fs::copy_file(segment, copy);
  reboot();
  const auto refuses = [&] {
    for (int time = 0; time < 2; ++time) {
      auto opened = EmbeddedLogStore::open(root_, {}, clock_, random_);
      ASSERT_TRUE(opened) << opened.error();
      const auto refused = (*opened)->append("lines", kPartition, {std::vector<std::string>{"x"}}, {});
      ASSERT_FALSE(refused);
      EXPECT_EQ(refused.error().code, ErrorCode::kCorrupt) << refused.error();
      EXPECT_THAT(refused.error().message, testing::HasSubstr("before offset 30 was durable"));
    }
  };
  {
    std::fstream file(segment, std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(100);
    file.put('!');
  }
  refuses();
  fs::resize_file(segment, 0);
  refuses();
  fs::remove(segment);
  refuses();
  fs::copy_file(copy, segment);
  open({});
  EXPECT_EQ(read(0, 30), numbered("v", 0, 30));
}

TEST_F(EmbeddedLogStoreTest, tells_readers_of_a_damaged_batch) {
  ASSERT_TRUE(append(numbered("v", 0, 10)));
  {
    std::fstream file(newest_segment(), std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(100);
    file.put('!');
  }
  ChunkCollector collector;
  std::unique_ptr<Log> log;
  std::unique_ptr<LogReader> reader;
  loop_.run_and_wait([&] {
    log = std::make_unique<EmbeddedLog>(root_, "lines", loop_);
    reader = log->open({kPartition, Offset(0), std::nullopt, 1 << 20}, &collector);
  });
  EXPECT_TRUE(collector.wait_for_error(ErrorCode::kCorrupt)) << collector.last_error();
  EXPECT_THAT(collector.last_error(), testing::HasSubstr("0.segment"));
  loop_.run_and_wait([&] {
    reader = nullptr;
    log = nullptr;
  });
}

TEST_F(EmbeddedLogStoreTest, answers_a_repeated_append_as_the_first_time_even_after_a_restart) {
  const auto first = append({"a", "b"}, {7, 1});
  const auto other = append({"c"}, {8, 1});
  const auto second = append({"d"}, {7, 2});
  ASSERT_TRUE(first && other && second);
  EXPECT_EQ(*append({"a", "b"}, {7, 1}), *first);
  for (int round = 0; round < 2; ++round) {
    open({});
    EXPECT_EQ(*append({"a", "b"}, {7, 1}), *first);
    EXPECT_EQ(*append({"d"}, {7, 2}), *second);
    EXPECT_EQ(*append({"c"}, {8, 1}), *other);
  }
  EXPECT_EQ(read(0, 4), (std::vector<std::string>{"a", "b", "c", "d"}));
}

TEST_F(EmbeddedLogStoreTest, recognises_repeats_over_segments_with_and_without_the_saved_table) {
  open({.segment_bytes = 1});
  const int64_t large = (int64_t{1} << 46) - 10;
  for (int64_t number = 0; number < 5; ++number) ASSERT_TRUE(append({"v"}, {7, large + number}));
  EXPECT_EQ(list_segments(folder())->size(), 5u);
  open({.segment_bytes = 1});
  EXPECT_EQ(append({"v"}, {7, large + 1})->from, Offset(1));
  for (const auto& entry : fs::directory_iterator(folder())) {
    if (entry.path().extension() == ".producers") fs::resize_file(entry.path(), 20);
  }
  open({.segment_bytes = 1});
  EXPECT_EQ(append({"v"}, {7, large + 1})->from, Offset(1));
  EXPECT_EQ(append({"v"}, {7, large + 5})->from, Offset(5));
}

TEST(ProducerTable, remembers_appends_that_were_committed_out_of_order) {
  ProducerTable table;
  table.remember({7, 1}, {Offset(0), Offset(1)});
  table.remember({7, 3}, {Offset(1), Offset(3)});
  table.remember({8, 1}, {Offset(3), Offset(4)});
  table.remember({7, 2}, {Offset(4), Offset(5)});
  const auto saved = ProducerTable::decode(table.encode());
  ASSERT_TRUE(saved);
  for (const ProducerTable& known : {table, *saved}) {
    EXPECT_EQ(known.find({7, 1}).value(), (OffsetRange{Offset(0), Offset(1)}));
    EXPECT_EQ(known.find({7, 2}).value(), (OffsetRange{Offset(4), Offset(5)}));
    EXPECT_EQ(known.find({7, 3}).value(), (OffsetRange{Offset(1), Offset(3)}));
    EXPECT_EQ(known.find({7, 4}).value(), std::nullopt);
    EXPECT_EQ(known.find({8, 1}).value(), (OffsetRange{Offset(3), Offset(4)}));
  }
  EXPECT_EQ(saved->encode(), table.encode());
}

TEST_F(EmbeddedLogStoreTest, refuses_an_append_older_than_those_remembered) {
  for (int64_t number = 1; number <= 40; ++number) ASSERT_TRUE(append({"v"}, {7, number}));
  const auto old = append({"v"}, {7, 1});
  ASSERT_FALSE(old);
  EXPECT_EQ(old.error().code, ErrorCode::kInvalid);
}

TEST_F(EmbeddedLogStoreTest, keeps_the_keys_of_records_that_have_some) {
  const std::vector<std::string> values = {"a", "b"};
  const std::vector<std::string> keys = {"user", ""};
  ASSERT_TRUE(store_->append("lines", kPartition, {values, keys}, {}));
  ASSERT_TRUE(append({"c"}));
  ChunkCollector collector;
  collect(collector, 0, 3);
  EXPECT_EQ(collector.values(), (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_EQ(collector.keys(), (std::vector<std::optional<std::string>>{"user", "", std::nullopt}));
  const std::vector<std::string> one = {"user"};
  const auto refused = store_->append("lines", kPartition, {values, one}, {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kInvalid);
  EXPECT_EQ(refused.error().message, "1 keys for 2 records; give each record one, or none");
}

TEST_F(EmbeddedLogStoreTest, refuses_what_makes_no_sense_and_says_why) {
  EXPECT_EQ(append({}).error().code, ErrorCode::kInvalid);
  EXPECT_EQ(append({"v"}, {-1, 1}).error().code, ErrorCode::kInvalid);
  EXPECT_EQ(append({"v"}, {1, 0}).error().code, ErrorCode::kInvalid);
  EXPECT_EQ(append({std::string(65 << 20, 'x')}).error().code, ErrorCode::kInvalid);
  EXPECT_EQ(store_->open_log("../lines", 1).error().code, ErrorCode::kInvalid);
  EXPECT_EQ(store_->open_log("new", 0).error().code, ErrorCode::kInvalid);
  const std::vector<std::string> one = {"v"};
  EXPECT_EQ(store_->append("new", kPartition, {one}, {}).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(store_->append("lines", LogPartition(1), {one}, {}).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(store_->append("lines", LogPartition(-1), {one}, {}).error().code, ErrorCode::kNotFound);
}

TEST_F(EmbeddedLogStoreTest, has_a_bound_on_the_partitions_of_all_logs_together) {
  open({.most_partitions = 10});
  ASSERT_EQ(store_->open_log("a", 5).value_or(0), 5);
  const auto refused = store_->open_log("b", 5);  // "lines" has one
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kInvalid);
  EXPECT_THAT(refused.error().message, testing::HasSubstr("6 partitions, and at most 10"));
  EXPECT_FALSE(fs::exists(root_ / "b"));
  EXPECT_EQ(store_->open_log("a", 5).value_or(0), 5);
  EXPECT_EQ(store_->open_log("b", 4).value_or(0), 4);
}

TEST_F(EmbeddedLogStoreTest, keeps_appends_of_many_threads_whole_and_stores_repeats_once) {
  constexpr int kThreads = 8;
  constexpr int kAppends = 50;
  std::vector<std::thread> threads;
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      for (int number = 1; number <= kAppends; ++number) {
        const std::string value = std::to_string(thread / 2) + ":" + std::to_string(number);
        // Two threads at a time are the same producer.
        const auto range = append({value, value}, {thread / 2 + 1, number});
        EXPECT_TRUE(range || range.error().code == ErrorCode::kInvalid);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  constexpr int64_t kRecords = kThreads / 2 * kAppends * 2;
  EXPECT_EQ(append({"end"})->from, Offset(kRecords));
  const auto values = read(0, kRecords);
  std::map<std::string, int> counts;
  for (size_t index = 0; index < values.size(); ++index) {
    EXPECT_EQ(values[index], values[index - index % 2]);
    ++counts[values[index]];
  }
  for (const auto& [value, count] : counts) EXPECT_EQ(count, 2) << value;
}

TEST_F(EmbeddedLogStoreTest, is_read_over_many_segments_while_old_ones_are_removed_under_the_reader) {
  open({.segment_bytes = 10'000, .retention_bytes = 30'000});
  ChunkCollector collector(true);
  std::unique_ptr<Log> log;
  std::unique_ptr<LogReader> reader;
  loop_.run_and_wait([&] {
    log = std::make_unique<EmbeddedLog>(root_, "lines", loop_);
    reader = log->open({kPartition, Offset(0), std::nullopt, 64 << 20}, &collector);
  });
  for (int round = 0; round < 200; ++round) {
    ASSERT_TRUE(append(numbered("v", round * 10, round * 10 + 10, 100)));
    ASSERT_TRUE(collector.wait_for_records(static_cast<size_t>(round + 1) * 10)) << collector.last_error();
  }
  EXPECT_EQ(collector.values(), numbered("v", 0, 2000, 100));
  EXPECT_LT(list_segments(folder())->size(), 6u);
  EXPECT_GT(list_segments(folder())->front(), Offset(1000));
  auto chunks = collector.release();  // their bytes are still there
  int64_t records = 0;
  for (const LogChunk& chunk : chunks) records += count_records(chunk.bytes.view(), chunk.range).value();
  EXPECT_EQ(records, 2000);
  loop_.run_and_wait([&] {
    chunks.clear();
    reader = nullptr;
    log = nullptr;
  });
}

TEST_F(EmbeddedLogStoreTest, wakes_readers_in_other_processes) {
  // The child appends; this process reads.
  store_ = nullptr;
  ChunkCollector collector;
  std::unique_ptr<Log> log;
  std::unique_ptr<LogReader> reader;
  loop_.run_and_wait([&] {
    log = std::make_unique<EmbeddedLog>(root_, "lines", loop_);
    reader = log->open({kPartition, Offset(0), std::nullopt, 1 << 20}, &collector);
  });
  const pid_t child = fork();
  if (child == 0) {
    auto store = EmbeddedLogStore::open(root_, {}, clock_, random_);
    for (int number = 0; store && number < 20; ++number) {
      (void)(*store)->append("lines", kPartition, {numbered("v", number, number + 1)}, {});
    }
    _exit(0);
  }
  EXPECT_TRUE(collector.wait_for_records(20)) << collector.last_error();
  EXPECT_EQ(collector.values(), numbered("v", 0, 20));
  waitpid(child, nullptr, 0);
  loop_.run_and_wait([&] {
    reader = nullptr;
    log = nullptr;
  });
}

TEST_F(EmbeddedLogStoreTest, keeps_what_it_answered_when_its_process_is_killed) {
  store_ = nullptr;
  int answers[2];
  ASSERT_EQ(pipe(answers), 0);
  const pid_t child = fork();
  if (child == 0) {
    auto store = EmbeddedLogStore::open(root_, {}, clock_, random_);
    for (int64_t number = 0; store; ++number) {
      if (!(*store)->append("lines", kPartition,
                            {numbered("v", static_cast<int>(number), static_cast<int>(number) + 1)}, {7, number + 1}))
        break;
      if (write(answers[1], "x", 1) != 1) break;
    }
    _exit(0);
  }
  close(answers[1]);
  char bytes[100];
  int64_t answered = 0;
  while (answered < 100) answered += std::max<ssize_t>(::read(answers[0], bytes, sizeof bytes), 0);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  for (ssize_t got = ::read(answers[0], bytes, sizeof bytes); got > 0; got = ::read(answers[0], bytes, sizeof bytes)) {
    answered += got;
  }
  close(answers[0]);
  open({});
  const auto next = append({"next"}, {7, answered + 10});
  ASSERT_TRUE(next) << next.error();
  EXPECT_GE(next->from, Offset(answered));
  const auto all = static_cast<int>(next->from.value());
  EXPECT_EQ(read(0, all), numbered("v", 0, all));
}

}  // namespace
}  // namespace millrace
