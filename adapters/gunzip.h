// gunzip: undoes gzip for what comes from outside.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "common/base/error.h"

namespace millrace {

// What the gzip streams in `packed`, one behind the other, hold; where that is more than `most_bytes`, only one byte
// more of it. kInvalid: it is no gzip, or damaged, or not whole.
Result<std::string> gunzip(std::string_view packed, size_t most_bytes);

}  // namespace millrace
