#include <algorithm>

#include "jobs/numbers.h"
#include "millrace/job.h"

namespace millrace {
namespace {

enum class Phase : uint8_t { kRaised, kCleared, kSilent };

std::string_view name_of(Phase phase) {
  return phase == Phase::kRaised ? "raised" : phase == Phase::kCleared ? "cleared" : "silent";
}

// A key with an alarm; for one batch more one whose alarm has ended, so that its end is seen as a change.
struct Watched {
  Phase phase;
  double level;  // the newest one; of an alarm that was raised just now the first one at the threshold
  int64_t raised_ms;
  int64_t time_ms;  // of the newest record; of an alarm that has ended its end
  MILLRACE_FIELDS(Watched, phase, level, raised_ms, time_ms)

  [[nodiscard]] std::string text() const { return text_of(std::tuple(name_of(phase), level, utc_text(raised_ms))); }
  [[nodiscard]] double score() const { return level; }
};

// An alarm that a batch raises ends in a later one: none is missed, wherever batches are cut.
struct Watch {
  double raise;
  double clear;
  int64_t silence_ms;  // 0: silence ends no alarm

  [[nodiscard]] bool raises(double level) const { return clear <= raise ? level >= raise : level <= raise; }
  [[nodiscard]] bool clears(double level) const { return clear <= raise ? level <= clear : level >= clear; }

  std::optional<Watched> operator()(std::span<const double> levels, std::optional<Watched> watched,
                                    BatchTime time) const {
    const int64_t now_ms = time.time_since_epoch().count();
    const auto raising = std::ranges::find_if(levels, [this](double level) { return raises(level); });
    const bool has_alarm = watched && watched->phase == Phase::kRaised;
    if (!has_alarm) {
      if (raising == levels.end()) return std::nullopt;
      return Watched{Phase::kRaised, *raising, now_ms, now_ms};
    }
    if (!levels.empty()) {
      watched->level = levels.back();
      watched->time_ms = now_ms;
    }
    if (raising != levels.end()) return watched;
    if (clears(watched->level)) {
      watched->phase = Phase::kCleared;
    } else if (silence_ms != 0 && now_ms - watched->time_ms >= silence_ms) {
      watched->phase = Phase::kSilent;
    }
    if (watched->phase != Phase::kRaised) watched->time_ms = now_ms;
    return watched;
  }
};

struct Told {
  std::string key;
  std::string_view alarm;
  double level;
  std::string time;
  MILLRACE_FIELDS(Told, key, alarm, level, time)
};

// The beginnings and ends of alarms.
struct Tell {
  using Output = Told;

  template <typename Emit>
  void operator()(const Change<std::string, Watched>& change, Emit& emit) const {
    const bool had = change.before && change.before->phase == Phase::kRaised;
    const bool has = change.after && change.after->phase == Phase::kRaised;
    if (had == has) return;
    emit(Told{change.key, name_of(change.after->phase), change.after->level, utc_text(change.after->time_ms)});
  }
};

// `levels`: pairs of a key and a level of it.
void watch(const auto& levels, const Watch& watch) {
  levels.template update_state_by_key<Watched>(watch, "watched")
      .publish("alarms")
      .rank("top", 1000)
      .changes()
      .flat_map(Tell())
      .write("alarms", json_lines);
}

// "KEY LEVEL", or of a count "KEY ...".
std::string_view key_of(std::string_view line) {
  return line.substr(0, line.find_first_of(" \t"));
}
using Level = std::pair<std::string, double>;
std::expected<Level, std::string> level_of(std::string_view line) {
  const std::string_view key = key_of(line);
  if (key.empty()) return std::unexpected("no 'KEY LEVEL': it begins with white space, or is empty");
  const auto level = numbers_of(line.substr(key.size()), 1);
  if (!level) return std::unexpected("no 'KEY LEVEL': " + level.error());
  return Level(key, level->front());
}

}  // namespace
}  // namespace millrace

MILLRACE_JOB(alarm,
             "keys whose level, or number of records, comes to a threshold, until it is back: of lines KEY LEVEL") {
  const std::string of = job.choice("of", {"level", "count"},
                                    "level: the number behind a line's key; count: how many "
                                    "lines of the key came within `window`");
  constexpr double kMost = 1e100;
  millrace::Watch watch{};
  watch.raise = job.decimal("raise", 100, -kMost, kMost, "a level that raises an alarm, as does any beyond it");
  watch.clear =
      job.decimal("clear", 90, -kMost, kMost, "the level at which it ends; above `raise`: alarms are of low levels");
  const auto silence = job.duration("silence", "24h", "of=level: the alarm of a key without a line for so long ends");
  const auto window = job.duration("window", "1m", "of=count: how far a count reaches back; a multiple of `slide`");
  const auto slide = job.duration("slide", "1s", "of=count: how often it changes; a multiple of the batch interval");
  if (of == "level") {
    watch.silence_ms = silence.count();
    millrace::watch(job.lines().map(millrace::level_of), watch);
    return;
  }
  millrace::watch(job.lines()
                      .map(millrace::key_of)
                      .window(window, slide)
                      .count_by_value("counts")
                      .changes()
                      .map([](const millrace::Change<std::string, int64_t>& change) {
                        return millrace::Level(change.key, static_cast<double>(change.after.value_or(0)));
                      }),
                  watch);
}
