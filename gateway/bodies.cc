#include "gateway/bodies.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <utility>

#include "stream/text.h"

namespace millrace {
namespace {

using nlohmann::json;

constexpr int kMostDepth = 3;       // of {"records": [{...}]}
constexpr size_t kMostShown = 300;  // of a message that repeats what was sent
constexpr size_t kMostNamesShown = 60;

Parsed<json> parse_records_json(std::string_view text, const std::string& place) {
  return parse_json(text, place, kMostDepth, "this JSON has more levels than a list of records");
}

std::string described(const json& value) {
  const std::string type = value.type_name();
  return type == "null" ? type : (type == "array" || type == "object" ? "an " : "a ") + type;
}

// The strings of an object, which has no members but these. Of one that may be left out `text` is null then.
struct Member {
  const char* name;
  bool required;
  std::string* text = nullptr;
};

Parsed<void> read_strings(json& object, std::span<Member> members, const std::string& place) {
  if (!object.is_object()) return bad_body(place + "expected an object, not " + described(object));
  for (auto item = object.begin(); item != object.end(); ++item) {
    const std::string& name = item.key();
    json& value = *item;
    const auto member = std::ranges::find(members, name, &Member::name);
    if (member == members.end()) {
      std::string known;
      for (const Member& one : members) known += (known.empty() ? "'" : ", '") + std::string(one.name) + "'";
      return bad_body(place + "there is no '" + name.substr(0, kMostNamesShown) + "' in it, but " + known);
    }
    if (!value.is_string()) {
      return bad_body(place + "'" + name + "' is " + described(value) + "; it must be a string");
    }
    member->text = value.get_ptr<std::string*>();
  }
  for (const Member& member : members) {
    if (member.required && member.text == nullptr) return bad_body(place + "'" + member.name + "' is missing");
  }
  return {};
}

Parsed<KeyedRecord> read_record(json& object, const char* key, const char* value, const std::string& place) {
  Member members[] = {{value, true}, {key, false}};
  if (auto read = read_strings(object, members, place); !read) return std::unexpected(std::move(read.error()));
  KeyedRecord record{.key = {}, .value = std::move(*members[0].text)};
  if (members[1].text == nullptr) return record;
  if (members[1].text->empty()) return bad_body(place + "'" + key + "' is empty; leave it out, or name one");
  if (members[1].text->size() > kMostKeyBytes) {
    return bad_body(place + "'" + key + "' has " + std::to_string(members[1].text->size()) + " bytes; at most " +
                    std::to_string(kMostKeyBytes) + " are taken");
  }
  record.key = std::move(*members[1].text);
  return record;
}

std::unexpected<HttpResponse> too_many() {
  return std::unexpected(http_problem(
      413, "these are more than " + std::to_string(kMostRecords) + " records; send them in several requests"));
}

Parsed<std::vector<KeyedRecord>> parse_list(std::string_view body) {
  auto object = parse_records_json(body, "");
  if (!object) return std::unexpected(std::move(object.error()));
  if (!object->is_object() || object->size() != 1 || !object->contains("records")) {
    return bad_body("expected {\"records\": [{\"key\": \"...\", \"value\": \"...\"}, ...]}");
  }
  json& list = object->at("records");
  if (!list.is_array()) return bad_body("'records' is " + described(list) + "; it must be an array");
  if (list.size() > kMostRecords) return too_many();
  std::vector<KeyedRecord> records;
  for (json& element : list) {
    auto record = read_record(element, "key", "value", "records[" + std::to_string(records.size()) + "]: ");
    if (!record) return std::unexpected(std::move(record.error()));
    records.push_back(std::move(*record));
  }
  return records;
}

Parsed<KeyedRecord> parse_json_line(std::string_view line, const std::string& place) {
  auto value = parse_records_json(line, place);
  if (!value) return std::unexpected(std::move(value.error()));
  if (value->is_string()) return KeyedRecord{.key = {}, .value = std::move(*value->get_ptr<std::string*>())};
  return read_record(*value, "key", "value", place);
}

Parsed<KeyedRecord> parse_text_line(std::string_view line, const std::string& place) {
  if (const auto byte = find_invalid_utf8(line)) {
    return bad_body(place + "byte " + std::to_string(*byte + 1) + " is no UTF-8");
  }
  return KeyedRecord{.key = {}, .value = std::string(line)};
}

// Lines end with \n or \r\n, the last one with the body, too.
template <typename ParseLine>
Parsed<std::vector<KeyedRecord>> parse_lines(std::string_view body, bool skip_empty, ParseLine parse_line) {
  std::vector<KeyedRecord> records;
  for (size_t number = 1; !body.empty(); ++number) {
    const size_t end = std::min(body.find('\n'), body.size());
    std::string_view line = body.substr(0, end);
    body.remove_prefix(std::min(end + 1, body.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (skip_empty && line.find_first_not_of(" \t") == std::string_view::npos) continue;
    if (records.size() == kMostRecords) return too_many();
    auto record = parse_line(line, "line " + std::to_string(number) + ": ");
    if (!record) return std::unexpected(std::move(record.error()));
    records.push_back(std::move(*record));
  }
  return records;
}

std::string_view without_parameters(std::string_view type) {
  type = type.substr(0, type.find(';'));
  return type.substr(0, type.find_last_not_of(" \t") + 1);
}

}  // namespace

Parsed<KeyedRecord> parse_submission(std::string_view body) {
  auto object = parse_records_json(body, "");
  if (!object) return std::unexpected(std::move(object.error()));
  auto record = read_record(*object, "user_id", "text", "");
  if (record && record->value.empty()) return bad_body("'text' is empty");
  return record;
}

Parsed<std::vector<KeyedRecord>> parse_records(std::string_view type, std::string_view body) {
  const std::string_view kind = without_parameters(type);
  Parsed<std::vector<KeyedRecord>> records;
  if (same_http_name(kind, "application/json")) {
    records = parse_list(body);
  } else if (same_http_name(kind, "application/x-ndjson")) {
    records = parse_lines(body, true, parse_json_line);
  } else if (same_http_name(kind, "text/plain")) {
    records = parse_lines(body, false, parse_text_line);
  } else {
    return std::unexpected(http_problem(
        415, "the Content-Type is " + (type.empty() ? "missing" : "'" + std::string(type.substr(0, kMostShown)) + "'") +
                 "; there is application/json, application/x-ndjson and text/plain"));
  }
  if (records && records->empty()) return bad_body("there is no record in the body");
  return records;
}

}  // namespace millrace
