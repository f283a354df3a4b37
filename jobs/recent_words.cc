#include "jobs/text_words.h"
#include "millrace/job.h"

MILLRACE_JOB(recent_words, "how often each word came in the last minutes") {
  const std::string field =
      job.setting("field", "", "the field of a JSON object whose text is counted; empty: the record is plain text");
  const auto window = job.duration("window", "5m", "how far the counts reach back; a multiple of the batch interval");
  const auto slide = job.duration("slide", "1s", "how often they change; a multiple of the batch interval");
  const auto words = millrace::text_words(job);
  const auto lines = job.lines(field);
  const auto counts =
      words ? lines.flat_map(millrace::UnicodeWords(*words)).window(window, slide).count_by_value().publish("counts")
            : lines.flat_map(millrace::split_words).window(window, slide).count_by_value().publish("counts");
  counts.rank("top", 1000);
}
