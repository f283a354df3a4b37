// What the API says as JSON, in one form wherever people and programs get it: the command line, the status ports, the
// gateway.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "millrace_types.h"

namespace millrace {

nlohmann::ordered_json json_value(const std::string& text);  // a whole number as a number, anything else as text
nlohmann::ordered_json json_of(const api::AsOf& as_of);
nlohmann::ordered_json json_of(const api::JobSummary& job);
nlohmann::ordered_json json_of(const api::JobDescription& description);
nlohmann::ordered_json json_of(const api::JobType& type);
nlohmann::ordered_json json_of(const api::WorkerSummary& worker);
nlohmann::ordered_json json_of(const api::Checkpoint& checkpoint);
nlohmann::ordered_json json_of(const api::BatchProfiles& profiles);
nlohmann::ordered_json json_of(const api::Lag& lag);
nlohmann::ordered_json json_of(const api::Values& values, bool with_found);
nlohmann::ordered_json json_of(const api::Docs& page, const std::string& word);
nlohmann::ordered_json json_of(const api::Page& page);
nlohmann::ordered_json json_of(const api::Totals& totals);
nlohmann::ordered_json json_of(const api::DeadLetters& letters);
nlohmann::ordered_json json_of(const api::BatchChanges& batch);  // each key once, with its last value

// In the order in which they came, each key once, with its last value. Valid as long as `batch` is.
std::vector<const api::Change*> last_of_each_key(const api::BatchChanges& batch);

// In one line; bytes that are no UTF-8 are replaced.
std::string json_text(const nlohmann::ordered_json& object);

}  // namespace millrace
