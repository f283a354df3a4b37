// Oracle: what jobs append.

#include <optional>
#include <sstream>

#include "common/model/output_lines.h"
#include "tests/sim/append_job.h"
#include "tests/sim/oracle.h"

namespace millrace {
namespace {

std::vector<std::string> lines_of(const std::string& bytes) {
  std::vector<std::string> all;
  OutputLines lines(bytes);
  std::optional<std::string_view> key;
  for (std::string_view line; lines.next(key, line);) all.emplace_back(line);
  return all;
}

}  // namespace

// Of `appending` each batch has its words, in order. Of `appending_changes` each word's changes follow one another, up
// to its count; its key decides in which part.
std::string Oracle::appended_wrong(const Job& job) const {
  if (!is_append_job(job.spec.type)) return "";
  std::map<int64_t, std::vector<std::string>> words;
  std::map<std::string, std::string> counts;
  for (const auto& [key, part] : deps_.output.parts()) {
    if (key.first != job.id) continue;
    for (const auto& [batch, bytes] : part.batches) {
      for (const std::string& line : lines_of(bytes)) {
        if (job.spec.type == kAppendJob) {
          words[batch.value()].push_back(line);
          continue;
        }
        const size_t tab = line.find('\t');
        std::istringstream change(line.substr(tab + 1));
        std::string before;
        std::string& count = counts[line.substr(0, tab)];
        change >> before;
        if (before != (count.empty() ? "0" : count)) return "the change '" + line + "' does not follow on " + count;
        change >> count;
      }
    }
  }
  if (job.spec.type == kAppendJob) {
    if (words == job.appended) return "";
    return "it has not appended the words of the log: " + std::to_string(words.size()) + " batches in place of " +
           std::to_string(job.appended.size());
  }
  const auto expected = values_at(job, "", job.newest(), [](const std::string&) { return true; });
  return counts == expected ? "" : "the newest changes that it has appended are not the counts";
}

}  // namespace millrace
