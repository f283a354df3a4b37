#include "adapters/open_log.h"

#include <utility>

#include "adapters/embedded_log.h"
#include "adapters/kafka_log.h"
#include "common/model/uri.h"

namespace millrace {

Result<std::unique_ptr<Log>> open_log(TaskLoop& loop, const LogSource& source) {
  const Result<Uri> uri = parse_uri(source.uri);
  if (!uri.has_value()) return std::unexpected(uri.error());
  if (uri->scheme == "kafka") {
    auto log = KafkaLog::make({uri->authority, uri->path, source.config, source.partitions}, loop);
    if (!log.has_value()) return std::unexpected(log.error());
    return std::unique_ptr<Log>(std::move(*log));
  }
  if (uri->scheme != "log") return fail(ErrorCode::kInvalid, "'" + uri->scheme + "' is no kind of source");
  if (source.embedded_root.empty()) {
    return fail(ErrorCode::kInvalid, "this cluster has no embedded logs; use kafka://HOST:PORT/TOPIC");
  }
  if (Status named = check_name("an embedded log's name", uri->authority); !named.has_value()) {
    return std::unexpected(named.error());
  }
  return std::unique_ptr<Log>(std::make_unique<EmbeddedLog>(source.embedded_root, uri->authority, loop));
}

}  // namespace millrace
