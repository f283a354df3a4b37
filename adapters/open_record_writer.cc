#include "adapters/open_record_writer.h"

#include <utility>

#include "adapters/ingest_writer.h"
#include "adapters/kafka_writer.h"
#include "common/model/address.h"
#include "common/model/uri.h"

namespace millrace {

Result<std::unique_ptr<RecordWriter>> open_record_writer(const RecordWriterTarget& target) {
  static constexpr char kForm[] = "log://NAME or kafka://HOST:PORT[,HOST:PORT]/TOPIC";
  const auto uri = parse_uri(target.uri, kForm);
  if (!uri) return std::unexpected(uri.error());
  if (uri->scheme == "kafka") {
    return KafkaWriter::open(
        {.brokers = uri->authority, .topic = uri->path, .config = target.config, .option = "--logs"});
  }
  if (uri->scheme != "log") return fail(ErrorCode::kInvalid, "'" + uri->masked() + "' is not " + kForm);
  if (const Status valid = check_name("the name of a log", uri->authority); !valid) {
    return std::unexpected(valid.error());
  }
  const auto master = parse_address("--api", target.api);
  if (!master) return std::unexpected(master.error());
  return std::make_unique<IngestWriter>(IngestWriterOptions{.log = uri->authority, .master = *master});
}

}  // namespace millrace
