#include "gateway/change_streams.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "common/api/api_json.h"
#include "common/api/change_position.h"

namespace millrace {
namespace {

constexpr Duration kDropAgain = std::chrono::seconds(1);  // those who have gone, at the earliest
constexpr int32_t kPollMs = 2'000;                        // so long a gateway that ends waits for its questions

bool same_life(const api::AsOf& one, const api::AsOf& other) {
  return one.job_id == other.job_id && one.incarnation == other.incarnation;
}

HttpStream::Part part_of(std::string text) {
  return std::make_shared<const std::string>(std::move(text));
}

std::string event_text(const char* name, const api::AsOf* position, const nlohmann::ordered_json& data) {
  return (position == nullptr ? "" : "id: " + position_text(*position) + "\n") + "event: " + name +
         "\ndata: " + json_text(data) + "\n\n";
}

std::string reset_text(const api::AsOf& position) {
  return event_text("reset", &position, {{"position", position_text(position)}, {"batch", position.batch}});
}

std::string changes_text(const api::BatchChanges& batch) {
  return event_text("changes", &batch.as_of, json_of(batch));
}

// All that the master has told, for one reader.
std::string events_of(const api::Changes& changes) {
  std::string text = changes.reset ? reset_text(changes.position) : "";
  for (const api::BatchChanges& batch : changes.batches) text += changes_text(batch);
  return text;
}

api::ChangesRequest request_of(const std::pair<std::string, std::string>& table, const api::AsOf& after,
                               int32_t wait_ms) {
  api::ChangesRequest request;
  request.name = table.first;
  request.table = table.second;
  request.after = after;
  request.wait_ms = wait_ms;
  return request;
}

}  // namespace

ChangeStreams::ChangeStreams(ChangeStreamsOptions options, TaskLoop& loop, const Clock& clock, ApiService& master)
    : options_(options), loop_(loop), clock_(clock), master_(master), seats_(options.most_readers) {
  loop_.post(lifetime_.guard([this] { beat(); }));
}

void ChangeStreams::add_to(Gateway& gateway) {
  gateway.add("GET", "/api/v1/jobs/NAME/stream", Role::kRead,
              [this](const HttpRequest& request, const auto& arguments, const auto&, HttpReply reply) {
                api::AsOf after;
                // What comes back by itself sends the header with the old query.
                std::string position(request.header("Last-Event-ID"));
                if (position.empty()) position = request.parameter("after");
                if (!position.empty()) {
                  Result<api::AsOf> parsed = parse_position(position);
                  if (!parsed) return reply(http_failure(parsed.error()));
                  after = *std::move(parsed);
                }
                loop_.post([this, table = Table(arguments[0], request.parameter("table")), after,
                            reply = std::move(reply)]() mutable { begin(table, after, std::move(reply)); });
              });
}

// The master's first answer says whether there is such a table, and brings the reader near to the others.
void ChangeStreams::begin(const Table& table, const api::AsOf& after, HttpReply reply) {
  if (!feeds_.contains(table) && feeds_.size() >= options_.most_tables) {
    return reply(later(503, "this gateway follows " + std::to_string(feeds_.size()) +
                                " tables already; use another gateway, or try again later"));
  }
  Seats::Seat seat = take_seat();
  if (seat == nullptr) {
    return reply(later(503, "this gateway has " + std::to_string(seats_.most()) +
                                " readers of streams already; use another gateway, or try again later"));
  }
  master_.changes(request_of(table, after, 0), [this, table, seat = std::move(seat),
                                                reply = std::move(reply)](auto answer) mutable {
    if (!answer) return reply(http_failure(answer.error()));
    HttpResponse head{.type = "text/event-stream",
                      .body = "retry: 1000\n\n" + events_of(*answer),
                      .headers = {{"X-Accel-Buffering", "no"}}};  // proxies shall pass on what comes at once
    head.stream = [this, table, position = answer->position, seat](std::shared_ptr<HttpStream> stream) {
      loop_.post([this, table, reader = Reader{std::move(stream), position, seat}] { join(table, reader); });
    };
    reply(std::move(head));
  });
}

void ChangeStreams::join(const Table& table, Reader reader) {
  const auto [found, is_new] = feeds_.try_emplace(table);
  Feed& feed = found->second;
  feed.wanted = clock_.now();
  if (is_new) {
    feed.position = reader.position;
    feed.readers.push_back(std::move(reader));
    return ask(table);
  }
  const api::AsOf& oldest = feed.events.empty() ? feed.position : feed.events.front().before;
  if (!same_life(oldest, reader.position) || reader.position.batch < oldest.batch) {
    return catch_up(table, std::move(reader));
  }
  for (const Event& event : feed.events) {
    if (event.after.batch <= reader.position.batch) continue;
    if (!reader.stream->send(event.text)) return;
    reader.position = event.after;
  }
  feed.readers.push_back(std::move(reader));
}

// For one that is further behind, or in another life of the job.
void ChangeStreams::catch_up(const Table& table, Reader reader) {
  const api::ChangesRequest request = request_of(table, reader.position, 0);
  master_.changes(request, [this, table, reader = std::move(reader)](auto answer) mutable {
    loop_.post([this, table, reader = std::move(reader), answer = std::move(answer)]() mutable {
      if (!answer) return reader.stream->end();  // it will come back
      if (!reader.stream->send(part_of(events_of(*answer)))) return;
      reader.position = answer->position;
      // After a pause, since what it was not told it will not be told at once either.
      loop_.schedule(options_.ask_again / 10, [this, table, reader = std::move(reader)] { join(table, reader); });
    });
  });
}

void ChangeStreams::ask(const Table& table) {
  master_.changes(request_of(table, feeds_.at(table).position, kPollMs), [this, table](auto answer) {
    loop_.post([this, table, answer = std::move(answer)]() mutable { on_answer(table, std::move(answer)); });
  });
}

void ChangeStreams::on_answer(const Table& table, Result<api::Changes> answer) {
  Feed& feed = feeds_.at(table);
  if (!answer) return on_failure(table, feed, answer.error());
  feed.trouble.clear();
  if (answer->reset) {
    feed.events.clear();
    feed.bytes = 0;
    send_to_all(feed, {feed.position, answer->position, part_of(reset_text(answer->position))});
  }
  api::AsOf before = feed.position;
  for (const api::BatchChanges& batch : answer->batches) {
    keep(feed, {std::exchange(before, batch.as_of), batch.as_of, part_of(changes_text(batch))});
  }
  feed.position = answer->position;
  if (!feed.readers.empty()) feed.wanted = clock_.now();
  if (clock_.now() - feed.wanted > options_.followed_for) {
    feeds_.erase(table);
    return;
  }
  ask(table);
}

void ChangeStreams::on_failure(const Table& table, Feed& feed, const Error& error) {
  if (std::exchange(feed.trouble, error.message) != error.message) {
    const auto told = part_of(event_text("waiting", nullptr, {{"detail", error.message}}));
    std::erase_if(feed.readers, [&](const Reader& reader) { return !reader.stream->send(told); });
  }
  // A job that is no more, or has no such table any more: whoever comes back is told so.
  if (error.code == ErrorCode::kNotFound || error.code == ErrorCode::kInvalid) {
    for (const Reader& reader : feed.readers) reader.stream->end();
    feeds_.erase(table);
    return;
  }
  loop_.schedule(options_.ask_again, lifetime_.guard([this, table] { ask(table); }));
}

void ChangeStreams::keep(Feed& feed, Event event) {
  send_to_all(feed, event);
  feed.bytes += event.text->size();
  feed.events.push_back(std::move(event));
  while (feed.bytes > options_.kept_bytes) {
    feed.bytes -= feed.events.front().text->size();
    feed.events.pop_front();
  }
}

// One that has come from the master further than the others is not told again.
void ChangeStreams::send_to_all(Feed& feed, const Event& event) {
  std::erase_if(feed.readers, [&event](Reader& reader) {
    if (same_life(reader.position, event.after) && reader.position.batch >= event.after.batch) return false;
    reader.position = event.after;
    return !reader.stream->send(event.text);
  });
}

Seats::Seat ChangeStreams::take_seat() {
  Seats::Seat seat = seats_.take();
  if (seat != nullptr || clock_.now() - dropped_at_ < kDropAgain) return seat;
  drop_gone();
  return seats_.take();
}

void ChangeStreams::drop_gone() {
  static const HttpStream::Part kNothing = part_of(":\n\n");
  dropped_at_ = clock_.now();
  for (auto& [table, feed] : feeds_) {
    std::erase_if(feed.readers, [](const Reader& reader) { return !reader.stream->send(kNothing); });
  }
}

void ChangeStreams::beat() {
  drop_gone();
  loop_.schedule(options_.heartbeat, lifetime_.guard([this] { beat(); }));
}

}  // namespace millrace
