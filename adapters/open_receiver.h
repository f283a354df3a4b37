// open_receiver: the receiver of a source's URI: socket://HOST:PORT or directory:///PATH.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "common/base/error.h"
#include "common/seams/receiver.h"

namespace millrace {

struct ReceiverSource {
  std::string uri;
  size_t max_record_bytes = 0;  // of a line that is longer just so much is handed on that it is refused
  bool until_latest = false;    // it ends with what is there now
  bool take_away = false;       // of a directory: see DirectoryReceiver
};

// Makes no connection yet. kInvalid: malformed, no source of that scheme, or one without an end that is to have one.
// kNotFound, kIo: a directory that cannot be read.
Result<std::unique_ptr<Receiver>> open_receiver(const ReceiverSource& source);

}  // namespace millrace
