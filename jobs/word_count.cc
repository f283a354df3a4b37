#include "jobs/text_words.h"
#include "millrace/job.h"

MILLRACE_JOB(word_count, "how often each word of a text occurs") {
  const std::string field =
      job.setting("field", "", "the field of a JSON object whose text is counted; empty: the record is plain text");
  const std::string rank =
      job.choice("rank", {"top", "all"}, "top: the sink's rank holds the 1,000 highest counts; all: every word");
  const auto words = millrace::text_words(job);
  const auto lines = job.lines(field);
  const auto counts = (words ? lines.flat_map(millrace::UnicodeWords(*words)).count_by_value()
                             : lines.flat_map(millrace::split_words).count_by_value())
                          .publish("counts");
  if (rank == "all") {
    counts.rank_all("top", 1000);
  } else {
    counts.rank("top", 1000);
  }
}
