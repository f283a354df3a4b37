#include "millrace/job.h"

namespace millrace {
namespace {

struct Event {
  bool click;
  std::string id;  // of the impression
  std::string ad;  // of an impression only
  MILLRACE_FIELDS(Event, click, id, ad)
};

// Records of other types are left out.
struct ReadEvent {
  using Output = Event;

  TextOf type{"type"};
  TextOf id{"id"};
  TextOf ad{"ad"};

  template <typename Emit>
  RecordProblem operator()(const Record& record, Emit& emit) {
    const auto kind = type(record);
    if (!kind) return kind.error();
    const bool click = *kind == "click";
    if (!click && *kind != "impression") return std::nullopt;
    const auto impression = id(record);
    if (!impression) return impression.error();
    if (click) {
      emit(Event{true, std::string(*impression), {}});
      return std::nullopt;
    }
    const auto shown = ad(record);
    if (!shown) return shown.error();
    emit(Event{false, std::string(*impression), std::string(*shown)});
    return std::nullopt;
  }
};

}  // namespace
}  // namespace millrace

MILLRACE_JOB(click_through,
             "how many clicks each ad got: of JSON lines, {type: impression, id, ad} joined with {type: click, id}") {
  const auto time_to_live =
      job.duration("time-to-live", "10m", "how far apart an impression and a click of it may come, in either order");
  const auto events = job.records().filter(millrace::kHasValue).flat_map(millrace::ReadEvent()).cache();
  const auto ads =
      events.filter([](const millrace::Event& event) { return !event.click; }).map([](const millrace::Event& event) {
        return std::pair(event.id, event.ad);
      });
  const auto clicks =
      events.filter([](const millrace::Event& event) { return event.click; }).map([](const millrace::Event& event) {
        return std::pair(event.id, true);
      });
  ads.join(clicks, {.time_to_live = time_to_live})
      .map([](const auto& joined) { return joined.second.first; })
      .count_by_value()
      .publish("clicks")
      .rank("top", 1000);
}
