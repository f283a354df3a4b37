#include "millrace/job.h"

// The smallest of the examples: words come from a server, and the highest counts since the start are seen to rise.
//   millrace run network_word_count --source socket://localhost:9999
MILLRACE_JOB(network_word_count, "how often each word has come so far, from a socket as a rule; the smallest example") {
  job.lines().flat_map(millrace::split_words).count_by_value().publish("counts").rank("top", 1000);
}
