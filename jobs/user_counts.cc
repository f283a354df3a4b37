#include "millrace/job.h"

// A record's key is its user's id, as whoever appends it has set it.
MILLRACE_JOB(user_counts, "how many records came of each user, which is the record's key") {
  job.records()
      .filter([](const millrace::Record& record) noexcept { return record.has_key; })
      .map([](const millrace::Record& record) noexcept { return record.key; })
      .count_by_value()
      .publish("counts")
      .rank("top", 1000);
}
