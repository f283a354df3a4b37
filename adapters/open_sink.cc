#include "adapters/open_sink.h"

#include <utility>

#include "adapters/null_sink.h"
#include "adapters/redis_sink.h"
#include "common/model/uri.h"

namespace millrace {

Result<std::unique_ptr<Sink>> open_sink(TaskLoop& loop, const SinkTarget& target,
                                        std::function<StatePartition(std::string_view key)> partition_of,
                                        std::chrono::milliseconds answer_limit) {
  const Result<Uri> parsed = parse_uri(target.uri);
  if (!parsed) return std::unexpected(parsed.error());
  if (parsed->scheme == "none") {
    if (target.config.empty()) return std::make_unique<NullSink>(loop);
    return fail(ErrorCode::kInvalid, "the sink none: has no settings; leave out --sink-config");
  }
  if (parsed->scheme != "redis") {
    return fail(ErrorCode::kInvalid, "there is no sink '" + parsed->scheme +
                                         "'; expected redis://[USER[:PASSWORD]@]HOST[:PORT][/DB] or none:");
  }
  RedisSinkOptions options;
  options.config = target.config;
  options.partition_of = std::move(partition_of);
  options.timeouts.answer = answer_limit;
  Result<std::unique_ptr<RedisSink>> sink = RedisSink::open(loop, target.uri, std::move(options));
  if (!sink) return std::unexpected(sink.error());
  return std::move(*sink);
}

}  // namespace millrace
