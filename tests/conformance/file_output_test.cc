// AppendFolder: each batch once and whole, whatever its owner was about to do when it ended, and whoever takes files
// away.

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <sstream>
#include <string>

#include "adapters/append_folder.h"
#include "common/model/output_lines.h"
#include "tests/conformance/temporary_directory.h"

namespace millrace {
namespace {

namespace fs = std::filesystem;

class FileOutput : public testing::Test {
 protected:
  [[nodiscard]] OutputTarget target(const std::string& name = "lines", uint64_t job = 7) const {
    OutputTarget target;
    target.job_name = "job";
    target.job = JobId(job);
    target.plan = {name, "text", 2};
    target.uri = "file://" + root_.string();
    return target;
  }
  [[nodiscard]] AppendFolder open(const std::string& name = "lines", uint64_t job = 7) const {
    return AppendFolder::open(target(name, job)).value();
  }
  static OutputBatch batch(int64_t id, const std::string& line, int64_t generation = 1, int32_t part = 0) {
    std::string bytes;
    OutputLines::add(bytes, std::nullopt, line);
    return {part, Generation(generation), BatchId(id), 0, 1, std::make_shared<const std::string>(bytes)};
  }
  // Of the output, by name.
  [[nodiscard]] std::map<std::string, std::string> files() const {
    std::map<std::string, std::string> all;
    for (const auto& entry : fs::directory_iterator(root_)) {
      if (!entry.is_regular_file()) continue;
      std::ostringstream text;
      text << std::ifstream(entry.path()).rdbuf();
      all[entry.path().filename()] = text.str();
    }
    return all;
  }
  // The folder of a part's owner.
  [[nodiscard]] fs::path folder_of(int part) const {
    for (const auto& entry : fs::recursive_directory_iterator(root_ / ".millrace")) {
      if (entry.is_directory() && entry.path().filename().string().starts_with(std::to_string(part) + "-")) {
        return entry.path();
      }
    }
    return {};
  }
  using Files = std::map<std::string, std::string>;

  TemporaryDirectory directory_;
  const fs::path root_ = fs::path(directory_.path()) / "out";
};

TEST_F(FileOutput, each_batch_is_a_file_that_sorts) {
  AppendFolder folder = open();
  ASSERT_TRUE(folder.claim());
  ASSERT_TRUE(folder.claim()) << "its answer may have been lost";
  EXPECT_TRUE(folder.append(batch(2, "a")));
  EXPECT_TRUE(folder.append(batch(10, "b")));
  EXPECT_TRUE(folder.append(batch(3, "c", 1, 1)));
  EXPECT_EQ(files(),
            (Files{{"000-000000000002.txt", "a\n"}, {"000-000000000010.txt", "b\n"}, {"001-000000000003.txt", "c\n"}}));
}

TEST_F(FileOutput, a_batch_that_comes_again_is_left_out_also_where_a_reader_has_taken_its_file) {
  AppendFolder folder = open();
  ASSERT_TRUE(folder.claim());
  ASSERT_TRUE(folder.append(batch(2, "a")));
  ASSERT_TRUE(folder.append(batch(3, "b")));
  fs::remove(root_ / "000-000000000003.txt");
  AppendFolder next = open();
  for (const int64_t id : {2, 3}) EXPECT_TRUE(next.append(batch(id, "again", 5)));
  EXPECT_TRUE(next.append(batch(4, "c", 5)));
  EXPECT_EQ(files(), (Files{{"000-000000000002.txt", "a\n"}, {"000-000000000004.txt", "c\n"}}));
}

TEST_F(FileOutput, what_was_staged_and_not_committed_never_was) {
  AppendFolder folder = open();
  ASSERT_TRUE(folder.claim());
  ASSERT_TRUE(folder.append(batch(2, "a")));
  std::ofstream(folder_of(0) / "staged-3") << "half of";
  AppendFolder next = open();
  EXPECT_TRUE(next.append(batch(3, "b", 2)));
  EXPECT_EQ(files(), (Files{{"000-000000000002.txt", "a\n"}, {"000-000000000003.txt", "b\n"}}));
  EXPECT_TRUE(fs::is_empty(folder_of(0)));
}

TEST_F(FileOutput, what_was_committed_and_not_in_its_place_gets_there_whichever_batch_comes_next) {
  AppendFolder folder = open();
  ASSERT_TRUE(folder.claim());
  ASSERT_TRUE(folder.append(batch(2, "a")));
  fs::rename(root_ / "000-000000000002.txt", folder_of(0) / "staged-2");
  AppendFolder next = open();
  EXPECT_TRUE(next.append(batch(5, "b", 2)));
  EXPECT_EQ(files(), (Files{{"000-000000000002.txt", "a\n"}, {"000-000000000005.txt", "b\n"}}));
}

TEST_F(FileOutput, an_older_owner_appends_nothing_any_more) {
  AppendFolder older = open();
  ASSERT_TRUE(older.claim());
  ASSERT_TRUE(older.append(batch(2, "a")));
  AppendFolder younger = open();
  ASSERT_TRUE(younger.append(batch(3, "b", 2)));
  EXPECT_FALSE(older.append(batch(3, "b")));
  const Status again = older.append(batch(3, "b"));
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, ErrorCode::kFenced);
  EXPECT_TRUE(younger.append(batch(4, "c", 2)));
  EXPECT_EQ(files().size(), 3u);
}

TEST_F(FileOutput, a_directory_belongs_to_one_output_of_one_job) {
  ASSERT_TRUE(open().claim());
  for (AppendFolder other : {open("lines", 8), open("others", 7)}) {
    const Status claimed = other.claim();
    ASSERT_FALSE(claimed);
    EXPECT_EQ(claimed.error().code, ErrorCode::kExists);
    EXPECT_NE(claimed.error().message.find("a directory of its own"), std::string::npos) << claimed.error();
  }
  EXPECT_TRUE(open().release());
  EXPECT_TRUE(open("lines", 8).claim());
}

TEST_F(FileOutput, a_claim_that_was_used_is_not_released_and_files_alone_are_refused) {
  AppendFolder folder = open();
  ASSERT_TRUE(folder.claim());
  ASSERT_TRUE(folder.append(batch(2, "a")));
  EXPECT_TRUE(folder.release());
  EXPECT_FALSE(open("lines", 8).claim());
  fs::remove_all(root_ / ".millrace");
  EXPECT_FALSE(open("lines", 8).claim());
  fs::remove(root_ / "000-000000000002.txt");
  EXPECT_TRUE(open("lines", 8).claim());
}

TEST_F(FileOutput, a_directory_that_cannot_be_made_is_refused_and_one_that_went_is_waited_for) {
  OutputTarget nowhere = target();
  nowhere.uri += "/none/below";
  const Status refused = AppendFolder::open(nowhere)->claim();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kInvalid) << refused.error();
  AppendFolder folder = open();
  ASSERT_TRUE(folder.claim());
  fs::rename(root_, root_.string() + "-away");
  const Status away = folder.append(batch(1, "a"));
  ASSERT_FALSE(away);
  EXPECT_EQ(away.error().code, ErrorCode::kUnavailable) << away.error();
  fs::rename(root_.string() + "-away", root_);
  EXPECT_TRUE(folder.append(batch(1, "a")));
  EXPECT_EQ(files(), (Files{{"000-000000000001.txt", "a\n"}}));
}

TEST_F(FileOutput, a_file_of_somebody_else_is_not_replaced) {
  AppendFolder folder = open();
  ASSERT_TRUE(folder.claim());
  std::ofstream(root_ / "000-000000000001.txt") << "mine";
  const Status blocked = folder.append(batch(1, "a"));
  ASSERT_FALSE(blocked);
  EXPECT_NE(blocked.error().message.find("move it away"), std::string::npos) << blocked.error();
  fs::remove(root_ / "000-000000000001.txt");
  EXPECT_TRUE(folder.append(batch(1, "a")));
  EXPECT_EQ(files(), (Files{{"000-000000000001.txt", "a\n"}}));
}

TEST_F(FileOutput, an_owner_is_kept_out_from_when_the_next_one_enters) {
  AppendFolder older = open();
  ASSERT_TRUE(older.claim());
  ASSERT_TRUE(older.append(batch(1, "a")));
  AppendFolder younger = open();
  ASSERT_TRUE(younger.enter(0, Generation(2)));
  EXPECT_FALSE(older.append(batch(2, "b")));
  EXPECT_EQ(older.append(batch(2, "b")).error().code, ErrorCode::kFenced);
}

TEST_F(FileOutput, a_directory_that_is_behind_what_the_job_knows_is_another_one) {
  AppendFolder folder = open();
  ASSERT_TRUE(folder.claim());
  ASSERT_TRUE(folder.append(batch(3, "a")));
  OutputBatch next = batch(9, "b");
  next.previous = BatchId(8);
  const Status behind = folder.append(next);
  ASSERT_FALSE(behind);
  EXPECT_EQ(behind.error().code, ErrorCode::kInvalid);
  EXPECT_NE(behind.error().message.find("come to batch 3, and it had come to 8"), std::string::npos) << behind.error();
  next.previous = BatchId(3);
  EXPECT_TRUE(folder.append(next));
}

}  // namespace
}  // namespace millrace
