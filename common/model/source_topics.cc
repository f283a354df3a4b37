#include "common/model/source_topics.h"

#include <algorithm>
#include <cctype>

namespace millrace {
namespace {

constexpr size_t kMostTopicName = 249;  // Kafka's

Status check_topic(const std::string& name) {
  const bool characters = std::ranges::all_of(
      name, [](unsigned char c) { return std::isalnum(c) != 0 || c == '.' || c == '_' || c == '-'; });
  if (characters && name.size() <= kMostTopicName && name != "." && name != "..") return {};
  return fail(ErrorCode::kInvalid,
              "'" + name + "' is no name of a topic; Kafka takes 1 to 249 of A-Z a-z 0-9 . _ - but not . or ..");
}

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts(1);
  for (const char c : text) {
    if (c == ',') {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

}  // namespace

std::string text_of(LogPartition partition) {
  const size_t topic = topic_index(partition);
  return "log partition " + std::to_string(topic_partition(partition)) +
         (topic == 0 ? "" : " of topic " + std::to_string(topic + 1));
}

Result<SourceTopics> SourceTopics::parse(const Uri& source) {
  const bool embedded = source.scheme == "log";
  if (embedded && !source.path.empty()) {
    return fail(ErrorCode::kInvalid, "an embedded log has no path; expected log://NAME");
  }
  const std::string form = embedded ? "log://NAME,NAME" : "kafka://HOST:PORT/TOPIC,TOPIC";
  const std::string& list = embedded ? source.authority : source.path;
  if (list.empty()) return fail(ErrorCode::kInvalid, "no topic; expected kafka://HOST:PORT/TOPIC");
  std::vector<std::string> names = split(list);
  if (names.size() > kMost) {
    return fail(ErrorCode::kInvalid, "it names " + std::to_string(names.size()) + " topics; a job reads at most " +
                                         std::to_string(kMost) + ": submit several jobs");
  }
  for (auto name = names.begin(); name != names.end(); ++name) {
    if (name->empty()) {
      return fail(ErrorCode::kInvalid, "a name is missing beside a comma of '" + list + "'; expected " + form);
    }
    Status good = embedded ? check_name("an embedded log's name", *name) : check_topic(*name);
    if (!good) return std::unexpected(good.error());
    if (std::find(names.begin(), name, *name) != name) {
      return fail(ErrorCode::kInvalid, "'" + *name + "' is named twice in '" + list + "'; name each topic once");
    }
  }
  return SourceTopics(std::move(names));
}

SourceTopics SourceTopics::of(const std::string& source) {
  const Result<Uri> uri = parse_uri(source);
  if (!uri) return {};
  return parse(*uri).value_or(SourceTopics());
}

std::string SourceTopics::name_of(LogPartition partition) const {
  const size_t topic = topic_index(partition);
  return topic < names_.size() ? names_[topic] : "";
}

std::string SourceTopics::place(LogPartition partition) const {
  if (!several()) return text_of(partition);
  return "partition " + std::to_string(topic_partition(partition)) + " of topic '" + name_of(partition) + "'";
}

std::string SourceTopics::label(LogPartition partition) const {
  const std::string number = std::to_string(topic_partition(partition));
  return several() ? name_of(partition) + ":" + number : number;
}

}  // namespace millrace
