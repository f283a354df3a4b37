#include "jobs/load_library.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "common/model/record_batch.h"

namespace millrace {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// MILLRACE_TEST_LIBRARIES is the folder of what tests/unit/libraries is built into.
Result<const JobLibrary*> load(const std::string& name) {
  std::ifstream file(std::string(MILLRACE_TEST_LIBRARIES) + "/" + name, std::ios::binary);
  std::ostringstream bytes;
  bytes << file.rdbuf();
  return load_job_library(bytes.str(), name);
}

Error refusal(const Result<const JobLibrary*>& library) {
  return library ? Error{ErrorCode::kInternal, "it was loaded"} : library.error();
}

TEST(LoadLibrary, its_jobs_are_listed_and_made) {
  const auto library = load("libtwo_jobs.so");
  ASSERT_TRUE(library) << library.error();
  const auto types = (*library)->types();
  ASSERT_EQ(types.size(), 2U);
  EXPECT_EQ(types[0].name, "first_lines");
  EXPECT_EQ(types[1].name, "second_words");
  EXPECT_EQ((*library)->settings("second_words", {}).value().at(0).name, "unused");

  const auto job = (*library)->make("second_words", {});
  ASSERT_TRUE(job) << job.error();
  EXPECT_EQ((*job)->tables().front().name, "counts");
  RecordBatchBuilder records;
  records.add(Offset(0), 0, std::nullopt, "a b a");
  MapReport report;
  const auto task = (*job)->make_map_task();
  ASSERT_TRUE(task->map(LogPartition(0), {Offset(0), Offset(1)}, records.finish(), report));
  EXPECT_EQ(report.emitted, 3);

  EXPECT_THAT((*library)->make("third", {}).error().message, HasSubstr("there are: "));
  EXPECT_THAT((*library)->make("first_lines", {.settings = {{"a", "b"}}}).error().message, HasSubstr("no setting 'a'"));
}

TEST(LoadLibrary, what_is_no_library_of_jobs_is_refused_by_name) {
  EXPECT_THAT(refusal(load("libno_jobs.so")).message,
              AllOf(HasSubstr("libno_jobs.so' is no library of jobs"), HasSubstr("MILLRACE_JOB")));
  EXPECT_THAT(refusal(load_job_library("text", "no_library.so")).message,
              AllOf(HasSubstr("cannot be loaded: no_library.so: "), ::testing::Not(HasSubstr("/proc"))));
}

TEST(LoadLibrary, one_of_another_version_is_refused_by_both_versions) {
  EXPECT_EQ(refusal(load("libother_version.so")).code, ErrorCode::kInvalid);
  EXPECT_THAT(refusal(load("libother_version.so")).message,
              AllOf(HasSubstr("Millrace 0.0.9"), HasSubstr(kJobInterface), HasSubstr("build it again")));
}

TEST(LoadLibrary, a_job_whose_code_throws_is_named) {
  const auto library = load("libthrowing_job.so");
  ASSERT_TRUE(library) << library.error();
  EXPECT_EQ((*library)->types().size(), 1U);  // other jobs of the library are none the worse
  EXPECT_EQ((*library)->settings("throws", {}).error().message, "job type 'throws': no luck");
  EXPECT_EQ((*library)->make("throws", {}).error().message, "job type 'throws': no luck");
}

}  // namespace
}  // namespace millrace
