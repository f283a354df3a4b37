// A record as a job sees it, and how a job refuses one.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "common/base/ids.h"
#include "common/model/record_batch.h"

namespace millrace {

// Its bytes live until what is done with the record is through.
struct Record : RecordView {
  LogPartition partition;  // of the topic
  // As the job's source names it: a topic of Kafka, or an embedded log. Empty: it has none.
  std::string_view topic;
};

// Why a record could not be processed, for its dead letter; none: it was.
using RecordProblem = std::optional<std::string>;

}  // namespace millrace
