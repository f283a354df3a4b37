#include "client/batch_table.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <map>
#include <optional>
#include <string_view>

namespace millrace::client {
namespace {

// The steps in the table's order; the checkpoint is on nobody's way.
constexpr std::array<std::string_view, 8> kWay = {"wait",   "fetch",  "map",    "shuffle",
                                                  "commit", "reduce", "report", "publish"};

const api::BatchStep* find_step(const api::BatchProfile& batch, std::string_view name) {
  const auto found = std::ranges::find(batch.steps, name, &api::BatchStep::name);
  return found == batch.steps.end() ? nullptr : &*found;
}

// What a step adds to the time between the log and the sink: what was fetched before the cut, and what is published
// after it, hold no batch up.
std::optional<int64_t> time_of(const api::BatchProfile& batch, std::string_view name) {
  const api::BatchStep* step = find_step(batch, name);
  if (step == nullptr) return std::nullopt;
  if (name == "fetch") return step->lane_most_us;
  if (name == "checkpoint" || name == "publish") return step->end_us - step->begin_us;
  return step->held_us;
}

std::string fixed(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.1f", value);
  return text;
}

class Column {
 public:
  // A number of the next line; none: it has none.
  std::string add(std::optional<double> value, bool whole = false) {
    whole_ = whole;
    if (!value) return "-";
    values_.push_back(*value);
    return text(*value);
  }
  // The least value that this share of all is not above.
  [[nodiscard]] std::string quantile(double share) {
    if (values_.empty()) return "-";
    std::ranges::sort(values_);
    const auto rank = static_cast<size_t>(std::ceil(share * static_cast<double>(values_.size())));
    return text(values_[std::max<size_t>(rank, 1) - 1]);
  }

 private:
  [[nodiscard]] std::string text(double value) const {
    return whole_ ? std::to_string(std::llround(value)) : fixed(value);
  }
  std::vector<double> values_;
  bool whole_ = false;
};

std::optional<double> in_ms(std::optional<int64_t> us) {
  return us ? std::optional(static_cast<double>(*us) / 1000) : std::nullopt;
}

// Records a second since the batch before was cut.
std::optional<double> rate_of(const std::vector<api::BatchProfile>& batches, size_t index) {
  if (index == 0) return std::nullopt;
  const int64_t ms = batches[index].time_ms - batches[index - 1].time_ms;
  if (ms <= 0) return std::nullopt;
  return static_cast<double>(batches[index].records) * 1000 / static_cast<double>(ms);
}

int64_t percent(int64_t part, int64_t all) {
  return all == 0 ? 0 : (part * 100 + all / 2) / all;
}

// The lane that most often took longest, and how much longer than the others.
std::string skew_of(const std::vector<api::BatchProfile>& batches, std::string_view name) {
  std::map<std::string, int> times;
  int64_t usual_us = 0;
  int64_t most_us = 0;
  for (const api::BatchProfile& batch : batches) {
    const api::BatchStep* step = find_step(batch, name);
    if (step == nullptr || step->lanes < 2) continue;
    ++times[step->slowest];
    usual_us += step->lane_p50_us;
    most_us += step->lane_most_us;
  }
  if (times.empty()) return "";
  const auto slowest = std::ranges::max_element(times, {}, [](const auto& entry) { return entry.second; });
  std::string text = "; its slowest, most often " + slowest->first;
  if (usual_us > 0) {
    text +=
        ", takes " + fixed(static_cast<double>(most_us) / static_cast<double>(usual_us)) + " times as long as usual";
  }
  return text;
}

}  // namespace

std::string where_the_time_goes(const std::vector<api::BatchProfile>& batches) {
  std::map<std::string_view, int64_t> sums;
  int64_t all = 0;
  for (const api::BatchProfile& batch : batches) {
    for (const std::string_view name : kWay) {
      const int64_t time = time_of(batch, name).value_or(0);
      sums[name] += time;
      all += time;
    }
  }
  if (all == 0) return "";
  const auto by_time = [](const auto& entry) { return entry.second; };
  auto most = std::ranges::max_element(sums, {}, by_time);
  std::string text;
  if (most->first == "wait") {
    text = "batches wait for lanes that are busy with earlier ones: " + std::to_string(percent(most->second, all)) +
           " % of the time between log and sink; of the rest ";
    all -= most->second;
    sums.erase(most);
    if (all == 0) return text + "nothing is known";
    most = std::ranges::max_element(sums, {}, by_time);
  } else {
    text = "of the time between log and sink ";
  }
  return text + std::to_string(percent(most->second, all)) + " % goes to " + std::string(most->first) +
         skew_of(batches, most->first);
}

void print_batches(const Output& output, const api::BatchProfiles& profiles, size_t n) {
  const std::vector<std::string_view> steps = {"wait",   "fetch",  "map",        "shuffle", "commit",
                                               "reduce", "report", "checkpoint", "publish"};
  Table table({"BATCH", "AGE", "RECORDS", "PER SECOND", "WAIT", "FETCH", "MAP", "SHUFFLE", "COMMIT", "REDUCE", "REPORT",
               "TOTAL", "CHECKPOINT", "PUBLISH"});
  Column records;
  Column rates;
  Column totals;
  std::map<std::string_view, Column> columns;
  const size_t first = profiles.batches.size() - std::min(n, profiles.batches.size());
  for (size_t index = first; index < profiles.batches.size(); ++index) {
    const api::BatchProfile& batch = profiles.batches[index];
    std::vector<std::string> row = {
        std::to_string(batch.batch), fixed(static_cast<double>(profiles.now_ms - batch.time_ms) / 1000),
        records.add(static_cast<double>(batch.records), true), rates.add(rate_of(profiles.batches, index), true)};
    for (const std::string_view name : steps) {
      if (name == "checkpoint") row.push_back(totals.add(in_ms(batch.applied_us)));
      row.push_back(columns[name].add(in_ms(time_of(batch, name))));
    }
    table.add(std::move(row));
  }
  if (first == profiles.batches.size()) {
    output.stream << "no batch has been applied since this master began to run the job\n";
    return;
  }
  for (const auto& [title, share] : {std::pair("p50", 0.5), std::pair("p99", 0.99), std::pair("max", 1.0)}) {
    std::vector<std::string> row = {title, "", records.quantile(share), rates.quantile(share)};
    for (const std::string_view name : steps) {
      if (name == "checkpoint") row.push_back(totals.quantile(share));
      row.push_back(columns[name].quantile(share));
    }
    table.add(std::move(row));
  }
  table.print(output);
  const std::vector<api::BatchProfile> shown(profiles.batches.begin() + static_cast<std::ptrdiff_t>(first),
                                             profiles.batches.end());
  output.stream << "age in s, steps in ms";
  if (const std::string hint = where_the_time_goes(shown); !hint.empty()) output.stream << "; " << output.shown(hint);
  output.stream << "\n";
}

}  // namespace millrace::client
