#include "tests/sim/append_job.h"

#include <string_view>
#include <utility>

#include "millrace/job.h"

namespace millrace {
namespace {

void define_words(JobBuilder& job) {
  const auto words = job.lines().flat_map(split_words);
  words.count_by_value().publish("counts");
  words.write("words");
}

void define_changes(JobBuilder& job) {
  job.lines()
      .flat_map(split_words)
      .count_by_value()
      .publish("counts")
      .changes()
      .map([](const Change<std::string, int64_t>& change) {
        return std::pair(change.key,
                         std::to_string(change.before.value_or(0)) + " " + std::to_string(change.after.value_or(0)));
      })
      .write("words", text_lines, {.parts = 3});
}

constexpr JobDefinition kWords{kAppendJob, "words, one by one", &define_words};
constexpr JobDefinition kChanges{kAppendChangesJob, "what changes in their counts", &define_changes};

}  // namespace

bool is_append_job(const std::string& type) {
  return type == kAppendJob || type == kAppendChangesJob;
}

Result<std::shared_ptr<const Job>> make_append_job(const std::string& type, const JobContext& context) {
  return make_job(type == kAppendJob ? kWords : kChanges, context);
}

}  // namespace millrace
