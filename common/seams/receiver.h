// Receiver: brings what cannot be read twice (a socket, files that come into a directory) into a log, line by line.
// What stands behind the log knows logs only.
//
// Real: SocketReceiver, DirectoryReceiver (adapters). docs/receivers.md says how another one is written.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "common/base/error.h"

namespace millrace {

struct ReceivedLines {
  std::span<const std::string_view> lines;  // at least one, in their order, without their ends
  std::string_view origin;  // where they come from, as it is told of a line that is refused: a file's name
  int64_t first_line = 0;   // the first one's number there, from 1 on
  uint64_t key = 0;         // not 0: a number of just these lines, to know them by when they are handed on once more
};

// Where the lines go. Called by one thread, the receiver's.
class ReceiverTarget {
 public:
  virtual ~ReceiverTarget() = default;

  // Takes the lines, all of them. Waits while the log is full, so that a receiver needs no buffer and no bound of its
  // own. False: no more is taken, ever.
  virtual bool append(const ReceivedLines& lines) = 0;
  // What is in the way just now, in a sentence with cause, place and remedy; empty: nothing is (any more).
  virtual void tell_problem(std::string problem) = 0;
  // How much of all that will come has come, from 0 to 1; never told where that is not known.
  virtual void tell_share(double share) = 0;
  // No more comes, because that was all, or because of an error that does not pass. The last call.
  virtual void end(Status status) = 0;
};

class Receiver {
 public:
  // Stops: the target is not called any more. It must let go who waits in append() before.
  virtual ~Receiver() = default;

  // Once; returns at once. The target outlives this.
  virtual void start(ReceiverTarget& target) = 0;
};

// A receiver at work for a job on a cluster: it appends to the log that the job reads.
class RunningReceiver {
 public:
  // Ends it; returns at once.
  virtual ~RunningReceiver() = default;
};

}  // namespace millrace
