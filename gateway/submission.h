// A job to submit, as JSON.
#pragma once

#include <string_view>

#include "gateway/json_body.h"
#include "millrace_types.h"

namespace millrace {

// An object with the fields of a SubmitRequest (thrift/millrace.thrift) by their names; name, type and source must be
// there. A library cannot be given: `millrace submit` brings those.
Parsed<api::SubmitRequest> parse_job(std::string_view body);

}  // namespace millrace
