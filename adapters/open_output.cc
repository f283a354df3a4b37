#include "adapters/open_output.h"

#include <utility>

#include "adapters/append_folder.h"
#include "adapters/blocking_output.h"
#include "adapters/kafka_output.h"
#include "common/model/output_lines.h"
#include "common/model/uri.h"

namespace millrace {
namespace {

class FunctionPlace {
 public:
  explicit FunctionPlace(std::unique_ptr<BatchFunction> function) : function_(std::move(function)) {}
  Status claim() { return {}; }
  Status release() { return {}; }
  Status append(const OutputBatch& batch) { return function_->call(batch); }

 private:
  std::unique_ptr<BatchFunction> function_;
};

class ShownPlace {
 public:
  explicit ShownPlace(std::function<Status(std::string_view)> show) : show_(std::move(show)) {}
  Status claim() { return {}; }
  Status release() { return {}; }
  Status append(const OutputBatch& batch) {
    text_.clear();
    OutputLines lines(*batch.bytes);
    std::optional<std::string_view> key;
    for (std::string_view line; lines.next(key, line);) {
      text_ += line;
      text_ += '\n';
    }
    if (!lines.is_whole()) return fail(ErrorCode::kCorrupt, "the lines of the batch do not parse");
    return show_(text_);
  }

 private:
  std::function<Status(std::string_view)> show_;
  std::string text_;
};

}  // namespace

Result<std::unique_ptr<Output>> open_output(TaskLoop& loop, const OutputTarget& target) {
  if (target.plan.format.empty()) {
    return std::make_unique<BlockingOutput<FunctionPlace>>(loop, FunctionPlace(target.make_function()));
  }
  const Result<Uri> uri = parse_uri(target.uri);
  if (!uri) return fail(ErrorCode::kInvalid, "--output " + target.plan.name + ": " + uri.error().message);
  if (uri->scheme == "kafka") {
    auto topic = KafkaOutput::open(target);
    if (!topic) return std::unexpected(topic.error());
    return std::make_unique<BlockingOutput<KafkaOutput>>(loop, std::move(*topic));
  }
  if (uri->scheme != "file") {
    return fail(ErrorCode::kInvalid, "--output " + target.plan.name + ": '" + uri->scheme +
                                         "' is no place for it; expected file:///DIR or kafka://HOST:PORT/TOPIC");
  }
  auto folder = AppendFolder::open(target);
  if (!folder) return std::unexpected(folder.error());
  return std::make_unique<BlockingOutput<AppendFolder>>(loop, std::move(*folder));
}

std::unique_ptr<Output> make_shown_output(TaskLoop& loop, std::function<Status(std::string_view)> show) {
  return std::make_unique<BlockingOutput<ShownPlace>>(loop, ShownPlace(std::move(show)));
}

}  // namespace millrace
