#include "common/api/api_json.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "common/api/change_position.h"

namespace millrace {
namespace {

nlohmann::ordered_json json_of_profile(const api::BatchProfile& profile) {
  nlohmann::ordered_json steps = nlohmann::ordered_json::array();
  for (const auto& step : profile.steps) {
    nlohmann::ordered_json object = {
        {"name", step.name}, {"begin_us", step.begin_us}, {"end_us", step.end_us}, {"held_us", step.held_us}};
    if (step.lanes > 0) {
      object["busy_us"] = step.busy_us;
      object["lanes"] = step.lanes;
      object["lane_p50_us"] = step.lane_p50_us;
      object["lane_most_us"] = step.lane_most_us;
      object["slowest"] = step.slowest;
    }
    steps.push_back(std::move(object));
  }
  return {{"batch", profile.batch},
          {"time_ms", profile.time_ms},
          {"newest_ms", profile.newest_ms},
          {"records", profile.records},
          {"bytes", profile.bytes},
          {"durable_us", profile.durable_us},
          {"mapped_us", profile.mapped_us},
          {"applied_us", profile.applied_us},
          {"published_us", profile.published_us},
          {"published_by", profile.published_by},
          {"steps", std::move(steps)}};
}

}  // namespace

nlohmann::ordered_json json_value(const std::string& text) {
  int64_t number = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  if (!text.empty() && stop == end && error == std::errc()) return number;
  return text;
}

nlohmann::ordered_json json_of(const api::AsOf& as_of) {
  return {{"job_id", as_of.job_id}, {"incarnation", as_of.incarnation}, {"epoch", as_of.epoch}, {"batch", as_of.batch}};
}

nlohmann::ordered_json json_of(const api::JobSummary& job) {
  return {{"name", job.name},
          {"type", job.type},
          {"state", job.state},
          {"as_of", json_of(job.applied)},
          {"batch", job.applied.batch},
          {"published", job.published},
          {"changed", job.changed},
          {"records", job.records},
          {"emitted", job.emitted},
          {"dead_letters", job.dead_letters},
          {"late", job.late},
          {"watermark_ms", job.watermark_ms},
          {"lag_records", job.lag_records},
          {"problem", job.problem}};
}

nlohmann::ordered_json json_of(const api::JobDescription& description) {
  nlohmann::ordered_json object = json_of(description.summary);
  object["source"] = description.source;
  if (!description.receiver.empty()) object["receiver"] = description.receiver;
  if (!description.outputs.empty()) object["outputs"] = description.outputs;
  object["sink"] = description.sink;
  object["tables"] = nlohmann::ordered_json::array();
  for (const auto& table : description.tables) {
    object["tables"].push_back({{"name", table.name}, {"rank", table.rank}, {"rank_size", table.rank_size}});
  }
  object["batch_interval_ms"] = description.batch_interval_ms;
  object["checkpoint_interval_ms"] = description.checkpoint_interval_ms;
  object["settings"] = description.settings;
  object["version"] = description.version;
  object["state_partitions"] = description.state_partitions;
  object["checkpoint_batch"] = description.checkpoint_batch;
  if (!description.watermark_held_by.empty()) object["watermark_held_by"] = description.watermark_held_by;
  object["recovering_partitions"] = description.recovering_partitions;
  object["executors"] = nlohmann::ordered_json::array();
  for (const api::ExecutorSummary& executor : description.executors) {
    object["executors"].push_back({{"process", executor.process},
                                   {"worker", executor.worker},
                                   {"state_partitions", executor.state_partitions},
                                   {"log_partitions", executor.log_partitions},
                                   {"applied", executor.applied},
                                   {"keys", executor.keys},
                                   {"memory_bytes", executor.memory_bytes}});
  }
  object["recent"] = nlohmann::ordered_json::array();
  for (const api::BatchProfile& batch : description.recent) {
    object["recent"].push_back({{"batch", batch.batch},
                                {"records", batch.records},
                                {"durable_us", batch.durable_us},
                                {"mapped_us", batch.mapped_us},
                                {"applied_us", batch.applied_us},
                                {"published_us", batch.published_us}});
  }
  return object;
}

nlohmann::ordered_json json_of(const api::JobType& type) {
  nlohmann::ordered_json object = {
      {"name", type.name}, {"description", type.description}, {"settings", nlohmann::ordered_json::array()}};
  for (const auto& setting : type.settings) {
    object["settings"].push_back(
        {{"name", setting.name}, {"default", setting.default_value}, {"description", setting.description}});
  }
  return object;
}

nlohmann::ordered_json json_of(const api::WorkerSummary& worker) {
  return {{"process", worker.process}, {"name", worker.name},      {"endpoint", worker.endpoint},
          {"lanes", worker.lanes},     {"state", worker.state},    {"jobs", worker.jobs},
          {"http", worker.http},       {"problem", worker.problem}};
}

nlohmann::ordered_json json_of(const api::Checkpoint& checkpoint) {
  return {{"batch", checkpoint.batch},     {"incarnation", checkpoint.incarnation}, {"time_ms", checkpoint.time_ms},
          {"version", checkpoint.version}, {"size_bytes", checkpoint.size_bytes},   {"files", checkpoint.files}};
}

nlohmann::ordered_json json_of(const api::BatchProfiles& profiles) {
  nlohmann::ordered_json batches = nlohmann::ordered_json::array();
  for (const api::BatchProfile& profile : profiles.batches) batches.push_back(json_of_profile(profile));
  return {{"as_of", json_of(profiles.as_of)}, {"now_ms", profiles.now_ms}, {"batches", std::move(batches)}};
}

nlohmann::ordered_json json_of(const api::Lag& lag) {
  nlohmann::ordered_json object = {{"as_of", json_of(lag.as_of)}, {"batch", lag.as_of.batch}};
  object["partitions"] = nlohmann::ordered_json::array();
  int64_t total = 0;
  for (const api::PartitionLag& partition : lag.partitions) {
    const int64_t behind = std::max<int64_t>(0, partition.end_offset - partition.applied_offset);
    total += behind;
    object["partitions"].push_back({{"topic", partition.topic},
                                    {"partition", partition.partition},
                                    {"applied_offset", partition.applied_offset},
                                    {"end_offset", partition.end_offset},
                                    {"lag", behind}});
  }
  object["lag"] = total;
  object["problem"] = lag.problem;
  return object;
}

nlohmann::ordered_json json_of(const api::Values& values, bool with_found) {
  nlohmann::ordered_json object = {{"as_of", json_of(values.as_of)}, {"batch", values.as_of.batch}};
  if (!values.table.empty()) object["table"] = values.table;
  object["values"] = nlohmann::ordered_json::array();
  for (const api::Value& value : values.values) {
    nlohmann::ordered_json entry = {{"word", value.key},
                                    {"count", value.found ? json_value(value.text) : nlohmann::ordered_json(nullptr)}};
    if (with_found) entry["found"] = value.found;
    object["values"].push_back(std::move(entry));
  }
  return object;
}

nlohmann::ordered_json json_of(const api::Docs& page, const std::string& word) {
  nlohmann::ordered_json object = {{"as_of", json_of(page.as_of)},
                                   {"batch", page.as_of.batch},
                                   {"table", page.table},
                                   {"word", word},
                                   {"count", json_value(page.found ? page.value : "0")},
                                   {"next", page.next_page}};
  object["docs"] = nlohmann::ordered_json::array();
  for (const api::Doc& doc : page.docs) object["docs"].push_back({{"doc", doc.member}, {"count", doc.count}});
  return object;
}

nlohmann::ordered_json json_of(const api::Page& page) {
  nlohmann::ordered_json object = {{"as_of", json_of(page.as_of)}, {"batch", page.as_of.batch}};
  if (!page.table.empty()) object["table"] = page.table;
  object["counts"] = nlohmann::ordered_json::array();
  for (const api::Value& entry : page.entries) {
    object["counts"].push_back({{"key", entry.key}, {"value", json_value(entry.text)}});
  }
  object["next_page"] = page.next_page;
  return object;
}

nlohmann::ordered_json json_of(const api::Totals& totals) {
  nlohmann::ordered_json object = {{"as_of", json_of(totals.as_of)}, {"batch", totals.as_of.batch}};
  if (!totals.table.empty()) object["table"] = totals.table;
  object["keys"] = totals.keys;
  object["sum"] = totals.__isset.sum ? nlohmann::ordered_json(totals.sum) : nlohmann::ordered_json(nullptr);
  return object;
}

nlohmann::ordered_json json_of(const api::DeadLetters& letters) {
  nlohmann::ordered_json object = {{"total", letters.total}};
  object["letters"] = nlohmann::ordered_json::array();
  for (const api::DeadLetter& letter : letters.letters) {
    object["letters"].push_back({{"topic", letter.topic},
                                 {"partition", letter.partition},
                                 {"offset", letter.offset},
                                 {"timestamp_ms", letter.timestamp_ms},
                                 {"reason", letter.reason}});
  }
  return object;
}

std::vector<const api::Change*> last_of_each_key(const api::BatchChanges& batch) {
  std::unordered_map<std::string_view, size_t> places;
  std::vector<const api::Change*> last;
  for (const api::Change& change : batch.changes) {
    const auto [place, added] = places.try_emplace(change.key, last.size());
    if (added) {
      last.push_back(&change);
    } else {
      last[place->second] = &change;
    }
  }
  return last;
}

nlohmann::ordered_json json_of(const api::BatchChanges& batch) {
  nlohmann::ordered_json object = {{"position", position_text(batch.as_of)}, {"batch", batch.as_of.batch}};
  object["changes"] = nlohmann::ordered_json::array();
  for (const api::Change* change : last_of_each_key(batch)) {
    object["changes"].push_back(
        {{"word", change->key},
         {"count", change->removed ? nlohmann::ordered_json(nullptr) : json_value(change->text)}});
  }
  return object;
}

std::string json_text(const nlohmann::ordered_json& object) {
  return object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace millrace
