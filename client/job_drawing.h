// A job's parts as a picture: an SVG that needs nothing else, from the left to the right as the values go. What is
// between two shuffles stands on one ground. Readable on light and on dark.
#pragma once

#include <optional>
#include <string>

#include "common/model/job_shape.h"

namespace millrace::client {

// "source", "chain", "state", "table", "output".
std::string name_of(JobPart::Kind kind);
std::optional<JobPart::Kind> kind_from(const std::string& name);
// What stands at the top of each stage, in the picture and in the text.
std::string name_of_stage(int32_t stage, int32_t state_partitions);

std::string draw_job(const std::string& title, const JobShape& shape, int32_t state_partitions);

}  // namespace millrace::client
