#include "adapters/settings.h"

#include <gflags/gflags.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <fstream>
#include <map>
#include <vector>

DEFINE_string(test_listen, "127.0.0.1:7070", "where to listen");
DEFINE_int32(test_lanes, 4, "number of lanes");
DEFINE_bool(test_check, false, "check more");

namespace millrace {
namespace {

using testing::HasSubstr;

std::map<std::string, std::string> environment_of_test;

std::optional<std::string> look_up(const std::string& variable) {
  const auto found = environment_of_test.find(variable);
  if (found == environment_of_test.end()) return std::nullopt;
  return found->second;
}

class SettingsTest : public testing::Test {
 protected:
  void SetUp() override { environment_of_test.clear(); }

  Status apply(std::vector<const char*> arguments) {
    arguments.insert(arguments.begin(), "millrace-test");
    return apply_settings(program_, static_cast<int>(arguments.size()), arguments.data(), look_up);
  }

  std::string write_file(const std::string& text) {
    const std::string path = testing::TempDir() + "settings_test." + std::to_string(getpid()) + ".flags";
    std::ofstream(path) << text;
    return path;
  }

  std::optional<int> parse(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "millrace-test");
    std::vector<char*> pointers;
    for (std::string& argument : arguments) pointers.push_back(argument.data());
    return parse_settings(program_, static_cast<int>(pointers.size()), pointers.data());
  }

  google::FlagSaver saver_;
  const SettingsProgram program_ = {"millrace-test", __FILE__, "a test"};
};

TEST_F(SettingsTest, AFlagGoesBeforeTheEnvironmentBeforeTheFile) {
  const std::string file =
      "--flagfile=" + write_file("# comment\n\n --test_listen=file:1 \n--test_lanes=1\n--test_check\n");
  environment_of_test = {{"MILLRACE_TEST_LISTEN", "environment:2"}, {"MILLRACE_TEST_LANES", "2"}};
  ASSERT_TRUE(apply({file.c_str(), "--test_listen=flag:3"}));
  EXPECT_EQ(FLAGS_test_listen, "flag:3");
  EXPECT_EQ(FLAGS_test_lanes, 2);
  EXPECT_TRUE(FLAGS_test_check);
}

TEST_F(SettingsTest, FlagsTakeAllFormsOfGflags) {
  ASSERT_TRUE(apply({"--test-lanes", "7", "-test_listen=a:1", "--test_check"}));
  EXPECT_EQ(FLAGS_test_lanes, 7);
  EXPECT_EQ(FLAGS_test_listen, "a:1");
  EXPECT_TRUE(FLAGS_test_check);
  ASSERT_TRUE(apply({"--notest_check", "--test_listen="}));
  EXPECT_FALSE(FLAGS_test_check);
  EXPECT_EQ(FLAGS_test_listen, "");
}

TEST_F(SettingsTest, WhatIsWrongIsNamedWithItsPlace) {
  const auto message = [this](const std::vector<const char*>& arguments) {
    const Status status = apply(arguments);
    return status ? "no error" : status.error().message;
  };
  EXPECT_THAT(message({"--nonsense=1"}), HasSubstr("command line: unknown flag '--nonsense'"));
  EXPECT_THAT(message({"--fromenv=PATH"}), HasSubstr("unknown flag"));  // gflags' own are no settings
  EXPECT_THAT(message({"--test_lanes=many"}), HasSubstr("'many' is no value of --test_lanes"));
  EXPECT_THAT(message({"--test_lanes"}), HasSubstr("needs a value"));
  EXPECT_THAT(message({"word"}), HasSubstr("'word' is no flag"));
  EXPECT_THAT(message({"--flagfile=/nonexistent/file"}), HasSubstr("No such file"));
  EXPECT_THAT(message({"--flagfile=/"}), HasSubstr("cannot be read"));
  const std::string file = "--flagfile=" + write_file("--test_lanes=1\n--oops=2\n");
  EXPECT_THAT(message({file.c_str()}), HasSubstr(".flags:2: unknown flag '--oops'"));
  environment_of_test = {{"MILLRACE_TEST_LANES", "x"}};
  EXPECT_THAT(message({}), HasSubstr("MILLRACE_TEST_LANES: 'x'"));
}

TEST_F(SettingsTest, AnErrorLeavesWithTwoAndVersionAndHelpWithZero) {
  testing::internal::CaptureStderr();
  EXPECT_EQ(parse({"--nonsense"}), 2);
  const std::string error = testing::internal::GetCapturedStderr();
  EXPECT_EQ(std::count(error.begin(), error.end(), '\n'), 1) << error;
  testing::internal::CaptureStdout();
  EXPECT_EQ(parse({"--version"}), 0);
  EXPECT_EQ(testing::internal::GetCapturedStdout(), std::string("millrace-test ") + MILLRACE_VERSION + "\n");
  testing::internal::CaptureStdout();
  EXPECT_EQ(parse({"--help"}), 0);
  const std::string help = testing::internal::GetCapturedStdout();
  EXPECT_THAT(help, HasSubstr("--test_lanes=N"));
  EXPECT_THAT(help, testing::Not(HasSubstr("tab_completion")));
  EXPECT_EQ(parse({"--test_lanes=3"}), std::nullopt);
}

TEST_F(SettingsTest, TooFewDescriptorsAreToldAndMoreAreTaken) {
  EXPECT_TRUE(raise_descriptor_limit(16));
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  EXPECT_EQ(limit.rlim_cur, limit.rlim_max);
  const Status status = raise_descriptor_limit(uint64_t{1} << 62);
  if (limit.rlim_cur != RLIM_INFINITY) {
    ASSERT_FALSE(status);
    EXPECT_THAT(status.error().message, HasSubstr("ulimit"));
  }
}

}  // namespace
}  // namespace millrace
