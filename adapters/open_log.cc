#include "adapters/open_log.h"

#include <sstream>
#include <utility>
#include <vector>

#include "adapters/embedded_log.h"
#include "adapters/kafka_reader_choice.h"
#include "adapters/topics_log.h"
#include "common/model/source_topics.h"
#include "common/model/uri.h"

namespace millrace {
namespace {

Result<std::unique_ptr<Log>> open_topic(TaskLoop& loop, const LogSource& source, const Uri& uri,
                                        const std::string& topic, const std::string& id) {
  if (uri.scheme == "log") return std::make_unique<EmbeddedLog>(source.embedded_root, topic, loop);
  return open_kafka_log({uri.authority, topic, source.config, source.partitions, id}, loop);
}

}  // namespace

Result<std::unique_ptr<Log>> open_log(TaskLoop& loop, const LogSource& source) {
  const Result<Uri> uri = parse_uri(source.uri);
  if (!uri.has_value()) return std::unexpected(uri.error());
  if (uri->scheme != "kafka" && uri->scheme != "log") {
    return fail(ErrorCode::kInvalid, "'" + uri->scheme + "' is no kind of source");
  }
  if (uri->scheme == "log" && source.embedded_root.empty()) {
    return fail(ErrorCode::kInvalid, "this cluster has no embedded logs; use kafka://HOST:PORT/TOPIC");
  }
  const Result<SourceTopics> names = SourceTopics::parse(*uri);
  if (!names.has_value()) return fail(ErrorCode::kInvalid, "--source: " + names.error().message);
  std::vector<std::unique_ptr<Log>> topics;
  std::istringstream ids(source.topic_id);  // as TopicsLog joins them: of all, or none
  for (const std::string& name : names->names()) {
    std::string id;
    std::getline(ids, id, kTopicIdSeparator);
    auto topic = open_topic(loop, source, *uri, name, id);
    if (!topic.has_value()) return topic;
    topics.push_back(std::move(*topic));
  }
  if (!names->several()) return std::move(topics.front());
  return std::make_unique<TopicsLog>(std::move(topics));
}

}  // namespace millrace
