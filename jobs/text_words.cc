#include "jobs/text_words.h"

#include <ranges>

#include "stream/job_error.h"

namespace millrace {

std::optional<WordRules> text_words(JobBuilder& job) {
  const std::string kind = job.choice("words", {"space", "unicode"},
                                      "space: words are what white space separates, as they are; unicode: what people "
                                      "would call words, lower-cased");
  WordRules rules;
  rules.min_length = static_cast<size_t>(
      job.number("min-length", 1, 1, 1000, "of words=unicode: shorter words, in characters, are left out"));
  const std::string stop_words = job.setting(
      "stop-words", "", "of words=unicode: words to leave out, separated by commas; 'english': the usual ones");
  for (const auto part : std::views::split(stop_words, ',')) {
    const std::string word(part.begin(), part.end());
    if (word == "english") {
      std::ranges::move(english_stop_words(), std::back_inserter(rules.stop_words));
    } else if (!word.empty()) {
      rules.stop_words.push_back(word);
    }
  }
  if (kind == "unicode") return rules;
  if (rules.min_length != 1 || !stop_words.empty()) {
    throw JobError("settings 'min-length' and 'stop-words' go with words=unicode; add that");
  }
  return std::nullopt;
}

}  // namespace millrace
