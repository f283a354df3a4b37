// Which RecordWriter a URI means.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "common/base/error.h"
#include "common/seams/record_writer.h"

namespace millrace {

struct RecordWriterTarget {
  std::string uri;                            // log://NAME or kafka://HOST:PORT/TOPIC
  std::map<std::string, std::string> config;  // librdkafka settings
  std::string api;                            // HOST:PORT of the master's services
};

// Waits for nobody. kInvalid: malformed, or bad settings.
Result<std::unique_ptr<RecordWriter>> open_record_writer(const RecordWriterTarget& target);

}  // namespace millrace
