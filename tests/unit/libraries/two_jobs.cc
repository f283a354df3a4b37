#include "millrace/job.h"

MILLRACE_JOB(second_words, "the words of a text, each time they come") {
  job.setting("unused", "yes", "nothing");
  job.lines().flat_map(millrace::split_words).count_by_value().publish("counts");
}

MILLRACE_JOB(first_lines, "the lines of a text, each time they come") {
  job.lines().count_by_value().publish("counts");
}
