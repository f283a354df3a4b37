// Error: an expected failure as a value. `Result<T>` is how every function that can fail because of the
// outside world (bad input, a full disk, a peer that is gone) says so; `CHECK` is for what only a bug can cause.
//
// A message says cause, place and remedy, in one line, for the person who reads it:
//   "topic 'lines' does not exist on 127.0.0.1:9092; create it or correct --source"
#pragma once

#include <expected>
#include <ostream>
#include <string>
#include <utility>

namespace millrace {

// What the caller should do next.
enum class ErrorCode {
  kInvalid,      // The request is wrong: report it, do not retry.
  kNotFound,     // The named thing is not there.
  kExists,       // The named thing is there already.
  kUnavailable,  // The other side is away or overloaded: retry later.
  kTimeout,      // No answer in time: the effect is unknown, retry only what is idempotent.
  kCorrupt,      // Bytes fail verification: never use them.
  kFenced,       // A younger owner exists: stop writing.
  kDataLost,     // A range that was promised is gone.
  kIo,           // A disk or file operation failed; after a failed sync the file is final.
  kInternal,     // A bug or an exception that an adapter caught.
};

const char* to_string(ErrorCode code);

struct [[nodiscard]] Error {
  ErrorCode code = ErrorCode::kInternal;
  std::string message;
};

inline std::ostream& operator<<(std::ostream& out, const Error& error) {
  return out << error.message << " (" << to_string(error.code) << ")";
}

template <typename T>
using Result = std::expected<T, Error>;
using Status = std::expected<void, Error>;

inline std::unexpected<Error> fail(ErrorCode code, std::string message) {
  return std::unexpected<Error>(Error{code, std::move(message)});
}

}  // namespace millrace
