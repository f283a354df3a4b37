#include <string>
#include <string_view>

#include "millrace/job.h"

MILLRACE_JOB(short_rank, "two tables: the second one has a rank, and that of three words only") {
  const auto words = job.lines().flat_map(millrace::split_words);
  words.map([](std::string_view word) { return "of " + std::to_string(word.size()); })
      .count_by_value("lengths")
      .publish("lengths");
  words.count_by_value("counts").publish("counts").rank("top", 3);
}
