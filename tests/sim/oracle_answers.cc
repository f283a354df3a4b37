// Oracle: what clients are answered.

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tests/sim/oracle.h"

namespace millrace {

int64_t Oracle::newest_answered(const std::string& name, bool top) const {
  const auto found = newest_of_.find(name);
  return found == newest_of_.end() ? 0 : jobs_.at(found->second).answered[top ? 1 : 0];
}

bool Oracle::check_as_of(Job& job, const api::AsOf& as_of, int64_t floor, bool top) {
  if (as_of.job_id != to_string(job.id)) return false;  // asked of a job that was killed meanwhile
  if (as_of.batch < floor) {
    breach(job, std::string(top ? "top" : "get") + " went back from batch " + std::to_string(floor) + " to " +
                    std::to_string(as_of.batch));
    return false;
  }
  if (as_of.batch > job.newest()) {
    breach(job, "an answer states batch " + std::to_string(as_of.batch) + ", which is not durable");
    return false;
  }
  int64_t& newest = job.answered[top ? 1 : 0];
  newest = std::max(newest, as_of.batch);
  return true;
}

void Oracle::on_values(const std::string& name, const api::Values& values, int64_t floor) {
  Job* job = find(name);
  if (job == nullptr || !check_as_of(*job, values.as_of, floor, false)) return;
  for (const api::Value& value : values.values) {
    const Sums* sums = sums_at(*job, value.key, values.as_of.batch);
    const std::string expected = sums == nullptr ? "nothing" : text_of(job->spec.type, values.table, *sums);
    const std::string seen = value.found ? value.text : "nothing";
    if (seen == expected) continue;
    breach(*job, "get says that '" + value.key + "' is " + seen + at_batch(values.as_of.batch) + ", it is " + expected);
  }
}

void Oracle::on_top(const std::string& name, int n, const api::Values& values, int64_t floor) {
  Job* job = find(name);
  if (job == nullptr || !check_as_of(*job, values.as_of, floor, true)) return;
  std::vector<std::pair<int64_t, std::string>> order;  // count, negative; word
  for (const auto& [word, history] : job->words) {
    if (is_posting(word)) continue;
    if (const Sums* sums = sums_at(*job, word, values.as_of.batch)) order.emplace_back(-sums->count, word);
  }
  std::ranges::sort(order);
  order.resize(std::min(order.size(), static_cast<size_t>(n)));
  std::string expected;
  std::string seen;
  for (const auto& [count, word] : order) {
    expected += word + "=" + text_of(job->spec.type, values.table, *sums_at(*job, word, values.as_of.batch)) + " ";
  }
  for (const api::Value& value : values.values) seen += value.key + "=" + value.text + " ";
  if (seen != expected) breach(*job, "top says " + seen + at_batch(values.as_of.batch) + ", it is " + expected);
}

void Oracle::on_docs(const std::string& name, const api::DocsRequest& request, const std::optional<api::Doc>& after,
                     const api::Docs& docs, int64_t floor) {
  Job* job = find(name);
  if (job == nullptr || !check_as_of(*job, docs.as_of, floor, false)) return;
  const std::string first = name_of(request.key, "");
  std::vector<std::pair<int64_t, std::string>> behind;  // count, negative; member
  for (auto each = job->words.lower_bound(first); each != job->words.end() && each->first.starts_with(first); ++each) {
    const Sums* sums = sums_at(*job, each->first, docs.as_of.batch);
    if (sums == nullptr) continue;
    std::pair posting(-sums->count, each->first.substr(first.size()));
    if (!after || std::pair(-after->count, after->member) < posting) behind.push_back(std::move(posting));
  }
  std::ranges::sort(behind);
  const Sums* key = sums_at(*job, request.key, docs.as_of.batch);
  std::string expected = key == nullptr ? "nothing" : std::to_string(key->count);
  std::string seen = docs.found ? docs.value : "nothing";
  for (size_t i = 0; i < std::min(behind.size(), static_cast<size_t>(request.limit)); ++i) {
    expected += " " + behind[i].second + "=" + std::to_string(-behind[i].first);
  }
  for (const api::Doc& doc : docs.docs) seen += " " + doc.member + "=" + std::to_string(doc.count);
  if (behind.size() > static_cast<size_t>(request.limit)) expected += " and more";
  if (!docs.next_page.empty()) seen += " and more";
  if (seen == expected) return;
  breach(*job, "docs says of '" + request.key + "' " + seen + at_batch(docs.as_of.batch) + ", it is " + expected);
}

void Oracle::on_changes(const api::ChangesRequest& request, const api::Changes& changes) {
  Job* job = find(request.name);
  const auto is_of_it = [&](const api::AsOf& as_of) {
    return as_of.job_id == to_string(job->id) && as_of.incarnation == job->incarnation.value();
  };
  if (job == nullptr || !is_of_it(changes.position)) return;
  if (!is_of_it(request.after) && !changes.reset) return breach(*job, "changes go on from another job's position");
  int64_t seen = request.after.batch;
  for (const api::BatchChanges& batch : changes.batches) {
    if (batch.as_of.batch <= seen) breach(*job, "changes went back" + at_batch(batch.as_of.batch));
    const auto told = [](const std::string& word) { return !is_posting(word); };
    const auto before = values_at(*job, changes.table, seen, told);
    auto values = before;
    for (const api::Change& change : batch.changes) {
      if (change.removed) {
        values.erase(change.key);
      } else {
        values[change.key] = change.text;
      }
    }
    seen = batch.as_of.batch;
    const std::string differs = difference(values, values_at(*job, changes.table, seen, told));
    if (!differs.empty()) breach(*job, "whoever follows finds" + at_batch(seen) + " that " + differs);
  }
  if (seen != changes.position.batch && !changes.reset)
    breach(*job, "the position is beyond the changes that were told");
}

void Oracle::on_page(const api::SearchRequest& request, const std::optional<api::Page>& before, const api::Page& page) {
  Job* job = find(request.name);
  const bool of_it =
      job != nullptr && page.as_of.job_id == to_string(job->id) && page.as_of.incarnation == job->incarnation.value();
  if (!of_it) return;  // asked of a job that was killed meanwhile, or went back
  if (page.as_of.batch > job->newest()) return breach(*job, "a page is of a batch that is not durable");
  if (before && before->as_of.batch != page.as_of.batch) {
    return breach(*job, "a page is of another batch than the one before, " + std::to_string(before->as_of.batch) +
                            at_batch(page.as_of.batch));
  }
  const std::string after = before ? before->entries.back().key : "";
  const auto values = values_at(*job, page.table, page.as_of.batch, [&](const std::string& word) {
    return !is_posting(word) && word.starts_with(request.prefix) && (!before || word > after);
  });
  std::string expected;
  std::string seen;
  auto value = values.begin();
  for (int i = 0; i < request.limit && value != values.end(); ++i, ++value) {
    expected += " " + value->first + "=" + value->second;
  }
  if (value != values.end()) expected += " and more";
  for (const api::Value& entry : page.entries) seen += " " + entry.key + "=" + entry.text;
  if (!page.next_page.empty()) seen += " and more";
  if (seen == expected) return;
  breach(*job, "search finds" + seen + at_batch(page.as_of.batch) + ", it is" + expected);
}

void Oracle::on_totals(const std::string& name, const api::Totals& totals) {
  Job* job = find(name);
  const bool of_it = job != nullptr && totals.as_of.job_id == to_string(job->id) &&
                     totals.as_of.incarnation == job->incarnation.value();
  if (!of_it) return;
  const auto values =
      values_at(*job, totals.table, totals.as_of.batch, [](const std::string& word) { return !is_posting(word); });
  int64_t sum = 0;
  bool integers = true;
  for (const auto& [word, text] : values) {
    integers = integers && text.find_first_not_of("-0123456789") == std::string::npos;
    if (integers) sum += std::stoll(text);
  }
  if (totals.keys == std::ssize(values) && totals.__isset.sum == integers && (!integers || totals.sum == sum)) return;
  breach(*job, "totals says " + std::to_string(totals.keys) + " keys, sum " + std::to_string(totals.sum) +
                   at_batch(totals.as_of.batch) + ", they are " + std::to_string(values.size()) + ", " +
                   std::to_string(sum));
}

}  // namespace millrace
