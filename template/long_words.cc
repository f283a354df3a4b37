#include <millrace/job.h>

MILLRACE_JOB(long_words, "how often each long word of a text occurs") {
  const auto least = static_cast<size_t>(job.number("least", 5, 1, 100, "the least length of a word, in bytes"));
  job.lines()
      .flat_map(millrace::split_words)
      .filter([least](std::string_view word) noexcept { return word.size() >= least; })
      .count_by_value()
      .publish("counts")
      .rank("top", 100);
}
