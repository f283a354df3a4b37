// The target of an HTTP request: its path and its query.
#pragma once

#include "common/seams/http.h"

namespace millrace {

// Sets `path` and `query` by `target`. False: that is malformed.
bool parse_target(HttpRequest& request);

}  // namespace millrace
