#include "common/base/error.h"

namespace millrace {

const char* to_string(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalid: return "invalid";
    case ErrorCode::kNotFound: return "not found";
    case ErrorCode::kExists: return "exists";
    case ErrorCode::kUnavailable: return "unavailable";
    case ErrorCode::kTimeout: return "timeout";
    case ErrorCode::kCorrupt: return "corrupt";
    case ErrorCode::kFenced: return "fenced";
    case ErrorCode::kDataLost: return "data lost";
    case ErrorCode::kIo: return "i/o";
    case ErrorCode::kInternal: return "internal";
  }
  return "unknown";
}

}  // namespace millrace
