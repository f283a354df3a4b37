#include "stream/json_field.h"

#include <simdjson.h>

#include "stream/text.h"

namespace millrace {

struct JsonField::Parser {
  simdjson::dom::parser parser;
};

JsonField::JsonField(std::string name) : name_(std::move(name)), parser_(std::make_unique<Parser>()) {}
JsonField::JsonField(JsonField&&) noexcept = default;
JsonField::~JsonField() = default;

bool JsonField::find(std::string_view json, std::string_view& text, std::string& problem) {
  if (const auto invalid = find_invalid_utf8(json)) {
    problem = "not valid UTF-8 at byte " + std::to_string(*invalid);
    return false;
  }
  simdjson::dom::element document;
  if (const auto error = parser_->parser.parse(json.data(), json.size(), true).get(document)) {
    problem = std::string("no JSON object: ") + simdjson::error_message(error);
    return false;
  }
  simdjson::dom::object object;
  if (document.get(object) != simdjson::SUCCESS) {
    problem = "no JSON object: the record holds another kind of value";
    return false;
  }
  bool found = false;
  simdjson::dom::element value;
  for (const auto field : object) {
    if (field.key != name_) continue;
    found = true;
    value = field.value;
  }
  if (!found) {
    problem = "the JSON object has no field '" + name_ + "'";
    return false;
  }
  if (value.get(text) != simdjson::SUCCESS) {
    problem = "the JSON field '" + name_ + "' holds no text";
    return false;
  }
  return true;
}

}  // namespace millrace
