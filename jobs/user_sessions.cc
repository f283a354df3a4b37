#include "millrace/job.h"

namespace millrace {
namespace {

struct Visit {
  std::string user;
  int64_t time_ms;
  MILLRACE_FIELDS(Visit, user, time_ms)
};

struct ReadVisit {
  TextOf user{"user"};
  TextOf time{"time"};
  bool time_of_record = false;

  std::expected<Visit, std::string> operator()(const Record& record) {
    const auto who = user(record);
    if (!who) return std::unexpected(who.error());
    Visit visit{std::string(*who), record.timestamp_ms};
    if (time_of_record) return visit;
    const auto when = time(record);
    if (!when) return std::unexpected(when.error());
    if (parse_utc(*when, visit.time_ms)) return visit;
    return std::unexpected("'" + std::string(*when) + "' is no time as 2026-11-21T20:30:00Z");
  }
};

// Of a user, as far as they have ended.
struct Ended {
  int64_t sessions;
  int64_t visits;
  int64_t seconds;
  MILLRACE_FIELDS(Ended, sessions, visits, seconds)

  [[nodiscard]] std::string text() const { return text_of(std::tuple(sessions, visits, seconds)); }
  [[nodiscard]] double score() const { return score_of(sessions); }
};

}  // namespace
}  // namespace millrace

MILLRACE_JOB(user_sessions,
             "how many sessions each user has ended, of how many visits and seconds: of JSON lines {user, time}") {
  const auto gap = job.duration("gap", "30m", "a session ends where a user makes no visit for so long");
  const auto delay = job.duration("delay", "10s", "how much later than others a line may come");
  const bool of_record = job.choice("time", {"field", "record"},
                                    "the field `time` (2026-11-21T20:30:00Z), or the record's timestamp") == "record";
  job.records()
      .filter(millrace::kHasValue)
      .map(millrace::ReadVisit{.time_of_record = of_record})
      .event_time([](const millrace::Visit& visit) { return visit.time_ms; }, {.delay = delay})
      .map([](const millrace::Visit& visit) { return visit.user; })
      .sessions(gap)
      .count_by_value({.name = "open"})
      .closed()
      .map([gap](const millrace::Closed<std::string, int64_t>& session) {
        const int64_t length_ms = session.end_ms - gap.count() - session.begin_ms;
        return std::pair(session.key, millrace::Ended{1, session.value, length_ms / 1000});
      })
      .reduce_by_key(
          [](millrace::Ended& into, const millrace::Ended& from) {
            into.sessions += from.sessions;
            into.visits += from.visits;
            into.seconds += from.seconds;
          },
          {.name = "ended"})
      .publish("sessions")
      .rank("top", 1000);
}
