// open_output: where an output appends: file:///DIR or kafka://HOST:PORT/TOPIC; of a plan without a format the job's
// own function.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "common/seams/output.h"
#include "common/seams/task_loop.h"

namespace millrace {

// Makes no connection yet, and touches nothing. kInvalid: malformed, or there is no such place.
Result<std::unique_ptr<Output>> open_output(TaskLoop& loop, const OutputTarget& target);

// Gives the lines of each batch, each ended by a newline, to `show`, on a thread of its own. Batches that come again
// are shown again.
std::unique_ptr<Output> make_shown_output(TaskLoop& loop, std::function<Status(std::string_view lines)> show);

}  // namespace millrace
