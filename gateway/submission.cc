#include "gateway/submission.h"

#include <functional>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

namespace millrace {
namespace {

using nlohmann::json;

constexpr int kMostJobDepth = 2;  // of {"settings": {...}}

struct Field {
  const char* expected;
  std::function<bool(const json& value, api::SubmitRequest& request)> take;  // false: it is of another type
};

template <typename T>
Field text_field(T api::SubmitRequest::* member) {
  return {"a string", [member](const json& value, api::SubmitRequest& request) {
            if (value.is_string()) request.*member = value.get<std::string>();
            return value.is_string();
          }};
}

template <typename T>
Field number_field(T api::SubmitRequest::* member) {
  return {"a whole number", [member](const json& value, api::SubmitRequest& request) {
            // What does not fit is out of the limits of the master, too.
            const bool fits = value.is_number_integer() && value >= std::numeric_limits<T>::min() &&
                              value <= std::numeric_limits<T>::max();
            if (fits) request.*member = value.get<T>();
            return fits;
          }};
}

Field flag_field(bool api::SubmitRequest::* member) {
  return {"true or false", [member](const json& value, api::SubmitRequest& request) {
            if (value.is_boolean()) request.*member = value.get<bool>();
            return value.is_boolean();
          }};
}

Field map_field(std::map<std::string, std::string> api::SubmitRequest::* member) {
  return {"an object of strings", [member](const json& value, api::SubmitRequest& request) {
            if (!value.is_object()) return false;
            for (const auto& [name, text] : value.items()) {
              if (!text.is_string()) return false;
              (request.*member)[name] = text.template get<std::string>();
            }
            return true;
          }};
}

const std::map<std::string, Field>& fields() {
  using Request = api::SubmitRequest;
  static const std::map<std::string, Field> kFields = {
      {"name", text_field(&Request::name)},
      {"type", text_field(&Request::type)},
      {"source", text_field(&Request::source)},
      {"sink", text_field(&Request::sink)},
      {"start", text_field(&Request::start)},
      {"receiver", text_field(&Request::receiver)},
      {"batch_interval_ms", number_field(&Request::batch_interval_ms)},
      {"checkpoint_interval_ms", number_field(&Request::checkpoint_interval_ms)},
      {"max_record_bytes", number_field(&Request::max_record_bytes)},
      {"state_partitions", number_field(&Request::state_partitions)},
      {"take_over", flag_field(&Request::take_over)},
      {"fail_on_bad_record", flag_field(&Request::fail_on_bad_record)},
      {"settings", map_field(&Request::settings)},
      {"source_config", map_field(&Request::source_config)},
      {"sink_config", map_field(&Request::sink_config)},
      {"outputs", map_field(&Request::outputs)},
      {"output_config", map_field(&Request::output_config)},
  };
  return kFields;
}

}  // namespace

Parsed<api::SubmitRequest> parse_job(std::string_view body) {
  static const std::string kExpected = "expected an object with the settings of a job: name, type, source...";
  const Parsed<json> object = parse_json(body, "", kMostJobDepth, kExpected);
  if (!object) return std::unexpected(object.error());
  if (!object->is_object()) return bad_body(kExpected);
  api::SubmitRequest request;
  request.sink = "none:";
  for (const auto& [name, value] : object->items()) {
    const auto field = fields().find(name);
    if (field == fields().end()) {
      std::string known;
      for (const auto& [each, unused] : fields()) known += (known.empty() ? "" : ", ") + each;
      return bad_body("a job has no '" + name.substr(0, 60) + "', but " + known);
    }
    if (!field->second.take(value, request)) return bad_body("'" + name + "' must be " + field->second.expected);
  }
  for (const char* const required : {"name", "type", "source"}) {
    if (!object->contains(required)) return bad_body("'" + std::string(required) + "' is missing");
  }
  return request;
}

}  // namespace millrace
