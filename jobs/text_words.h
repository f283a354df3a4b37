// The settings by which jobs say what a word of a text is.
#pragma once

#include <optional>

#include "millrace/job.h"

namespace millrace {

// None: whatever white space separates.
std::optional<WordRules> text_words(JobBuilder& job);

}  // namespace millrace
