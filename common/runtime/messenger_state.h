// What a Messenger keeps per endpoint and per process; see messenger.h for how they work together. Only messenger*.cc
// include this.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "common/runtime/messenger.h"
#include "common/runtime/session_windows.h"

namespace millrace {

// The way to an endpoint: one link at a time, made anew after a pause when it breaks. It lives while connect() wants
// it or a session uses it; one that was made to answer a stranger's Hello goes when its link breaks.
struct Messenger::Dial {
  Endpoint to;
  bool wanted = false;   // by connect()
  bool refused = false;  // final until connect() is called again
  LinkId link;           // 0: none
  bool up = false;
  ProcessId process;    // where `link` leads to; 0: not answered yet
  ProcessId answer_to;  // whose Hello, over its link `answer_due`, waits for our answer; 0: nobody's
  int64_t answer_due = 0;
  Duration pause{};  // before the next link
  Duration hello_pause{};
  TaskLoop::TimerId retry_timer = 0;
  TaskLoop::TimerId hello_timer = 0;
};

struct Messenger::Session {
  Session(std::shared_ptr<const PeerInfo> info_of_peer, const MessengerOptions& options)
      : info(std::move(info_of_peer)), in(options.max_early_messages, options.max_unacknowledged_bytes) {}

  std::shared_ptr<const PeerInfo> info;  // shared: the handler may forget the session while it holds this
  Dial* dial = nullptr;                  // never null once the session is in the map
  bool reachable = true;                 // false: the handler was told

  SendWindow out;
  ReceiveWindow in;

  int unacknowledged_arrivals = 0;  // since the last acknowledgement was sent
  TaskLoop::TimerId ack_timer = 0;
  TaskLoop::TimerId flush_timer = 0;     // the network's queue was full
  TaskLoop::TimerId progress_timer = 0;  // set while something is not acknowledged
  Sequence progress_mark = 0;            // acknowledged when progress_timer was set
  Duration progress_pause{};
  TaskLoop::TimerId gap_timer = 0;
  Sequence gap_mark = 0;  // received when the last request was made
  Duration gap_pause{};

  void cancel_timers(TaskLoop& loop) const {
    for (const auto timer : {ack_timer, flush_timer, progress_timer, gap_timer}) loop.cancel(timer);
  }
};

struct Messenger::Refusal {
  std::string address;
  TaskLoop::TimerId timer = 0;
};

}  // namespace millrace
