// A record as a job sees it, and how a job refuses one.
#pragma once

#include <optional>
#include <string>

#include "common/base/ids.h"
#include "common/model/record_batch.h"

namespace millrace {

// Its bytes live until what is done with the record is through.
struct Record : RecordView {
  LogPartition partition;  // of the log
};

// Why a record could not be processed, for its dead letter; none: it was.
using RecordProblem = std::optional<std::string>;

}  // namespace millrace
