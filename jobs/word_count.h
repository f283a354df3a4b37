// word_count: how often each word occurs. A record is a text of UTF-8, or with the setting `field` a JSON object of
// which one text field is counted; words are separated by ASCII white space and kept as they are.
#pragma once

#include <memory>

#include "stream/job.h"

namespace millrace {

inline constexpr size_t kWordCountRankSize = 1000;

std::vector<JobSetting> word_count_settings();
// kInvalid: a malformed setting. Unknown ones were refused before.
Result<std::shared_ptr<const Job>> make_word_count(const JobContext& context);

}  // namespace millrace
