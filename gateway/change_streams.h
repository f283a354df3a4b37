// ChangeStreams: server-sent events of what changes in jobs, for any number of readers.
//
//   GET /api/v1/jobs/NAME/stream?table=T
//
//   event: changes    data: {"position": ..., "batch": ..., "changes": [{"word": ..., "count": ...}, ...]}
//   event: reset      data: {"position": ..., "batch": ...}   what changed up to here is not told: read what you show
//   anew event: waiting    data: {"detail": ...}                   nothing comes for now, and why
//
// The first two have their position as id; a reader that comes back with it as Last-Event-ID (or ?after=) is told what
// it has missed. A table is followed once for all of its readers, and its newest events are kept for those that come a
// little behind. Nothing is followed any more a minute after its last reader has gone. Readers have a bound, so that
// those who only listen leave connections to others.
//
// Lives on a loop, to which the routes and the master's answers post.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/runtime/lifetime.h"
#include "common/seams/api_service.h"
#include "common/seams/clock.h"
#include "common/seams/task_loop.h"
#include "gateway/gateway.h"
#include "gateway/seats.h"

namespace millrace {

struct ChangeStreamsOptions {
  size_t kept_bytes = 16u << 20;                        // of events, by table
  size_t most_tables = 100;                             // that are followed at once
  size_t most_readers = 5000;                           // of all tables together
  Duration followed_for = std::chrono::minutes(1);      // after the last reader has gone
  Duration ask_again = std::chrono::milliseconds(300);  // after the master has not answered
  Duration heartbeat = std::chrono::seconds(15);        // so that readers that have gone are noticed
};

class ChangeStreams {
 public:
  // They outlive this, but for `master`, which has to go between the loop's end and this.
  ChangeStreams(ChangeStreamsOptions options, TaskLoop& loop, const Clock& clock, ApiService& master);
  ChangeStreams(const ChangeStreams&) = delete;
  ChangeStreams& operator=(const ChangeStreams&) = delete;

  // `gateway` calls this as long as it is called itself.
  void add_to(Gateway& gateway);

 private:
  using Table = std::pair<std::string, std::string>;  // a job's name, and the table's
  struct Event {
    api::AsOf before;  // whoever is there, or between both, goes on by it
    api::AsOf after;
    HttpStream::Part text;
  };
  struct Reader {
    std::shared_ptr<HttpStream> stream;
    api::AsOf position;
    Seats::Seat seat;
  };
  struct Feed {
    api::AsOf position;
    std::string trouble;       // that the readers were told of; empty: none
    std::deque<Event> events;  // the newest, leading from one to the next and up to `position`
    size_t bytes = 0;
    std::vector<Reader> readers;
    MonotonicTime wanted;  // when there was a reader for the last time
  };

  void begin(const Table& table, const api::AsOf& after, HttpReply reply);
  void join(const Table& table, Reader reader);
  void catch_up(const Table& table, Reader reader);
  void ask(const Table& table);
  void on_answer(const Table& table, Result<api::Changes> answer);
  void on_failure(const Table& table, Feed& feed, const Error& error);
  void keep(Feed& feed, Event event);
  static void send_to_all(Feed& feed, const Event& event);
  Seats::Seat take_seat();  // null: there is none
  void drop_gone();
  void beat();

  const ChangeStreamsOptions options_;
  TaskLoop& loop_;
  const Clock& clock_;
  ApiService& master_;
  std::map<Table, Feed> feeds_;
  Seats seats_;               // of the readers
  MonotonicTime dropped_at_;  // those who have gone, for the last time
  Lifetime lifetime_;
};

}  // namespace millrace
