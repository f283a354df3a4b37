// http_load: sends texts to POST /submit_text over kept connections, either each as soon as its connection's last one
// is answered, or at a steady rate: then latency counts from the time at which a text was due, whether or not it could
// be sent then. Some may be followed until their count is readable: a text with a word of its own, then the count of
// that word again and again. Others may read a job's stream of changes, and must be told each such word. Prints one
// JSON object. What has not come when patience is over is in the percentiles with the time until then, so that a server
// that stands still does not look fast, and its number is told.
//
//   http_load --port=7090 --text=lines.txt --connections=64 --seconds=10
#include <gflags/gflags.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <deque>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "adapters/settings.h"
#include "bench/http_lines.h"

DEFINE_int32(port, 7090, "of the server, on 127.0.0.1");
DEFINE_string(text, "", "a file with the lines that are sent, again from its beginning where it ends");
DEFINE_int32(connections, 64, "for the texts");
DEFINE_double(rate, 0, "texts a second; 0: as fast as they are answered");
DEFINE_double(seconds, 10, "how long is measured");
DEFINE_double(warm_up, 2, "so many seconds before that");
DEFINE_double(probes, 0, "texts a second besides, each with a word of its own");
DEFINE_int32(first_probe, 0, "the number of the first one; another for each run on the same job");
DEFINE_string(job, "words", "counts the texts");
DEFINE_bool(readable, false, "follow each probe until its count can be read");
DEFINE_int32(readers, 0, "so many connections read the job's stream, and are told each probe");
DEFINE_double(patience, 20, "seconds for the last answers, counts and readers");

namespace {

using millrace::HttpAnswer;
using millrace::HttpLines;
using Clock = HttpLines::Clock;
using Seconds = std::chrono::duration<double>;

constexpr size_t kPreparedRequests = 4096;
constexpr auto kPauseOfLooks = std::chrono::milliseconds(4);
constexpr std::string_view kProbe = "probe";
constexpr size_t kProbeDigits = 9;

Clock::duration of(double seconds) {
  return std::chrono::duration_cast<Clock::duration>(Seconds(seconds));
}

std::string post(const std::string& text, size_t user) {
  const std::string body = nlohmann::json{{"text", text}, {"user_id", "user-" + std::to_string(user)}}.dump();
  return "POST /submit_text HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: " +
         std::to_string(body.size()) + "\r\n\r\n" + body;
}

std::string probe_word(int64_t number) {
  std::string digits = std::to_string(number);
  return std::string(kProbe) + std::string(kProbeDigits - digits.size(), '0') + digits;
}

class Latencies {
 public:
  // What was due then has come, or nobody waits for it any more.
  void add(Clock::time_point due, Clock::time_point begin, Clock::time_point end) {
    const auto now = Clock::now();
    if (due >= begin && due < end) ms_.push_back(std::chrono::duration<double, std::milli>(now - due).count());
  }
  [[nodiscard]] size_t count() const { return ms_.size(); }
  void tell(nlohmann::json& object, const std::string& prefix = "") {
    std::ranges::sort(ms_);
    const auto at = [this](double share) {
      return ms_.empty() ? 0.0
                         : ms_[std::min(ms_.size() - 1, static_cast<size_t>(share * static_cast<double>(ms_.size())))];
    };
    object[prefix + "p50_ms"] = at(0.5);
    object[prefix + "p90_ms"] = at(0.9);
    object[prefix + "p99_ms"] = at(0.99);
    object[prefix + "p999_ms"] = at(0.999);
    object[prefix + "max_ms"] = at(1);
  }

 private:
  std::vector<double> ms_;
};

// What all of a run know.
struct Run {
  HttpLines lines{static_cast<uint16_t>(FLAGS_port)};
  Clock::time_point begin;  // of what is measured
  Clock::time_point end;
};

class Texts {
 public:
  explicit Texts(Run& run) : run_(run) {
    std::ifstream file(FLAGS_text);
    for (std::string line; requests_.size() < kPreparedRequests && std::getline(file, line);)
      requests_.push_back(post(line, requests_.size()));
    if (requests_.empty()) millrace::give_up("--text has no lines: " + FLAGS_text);
    due_.resize(static_cast<size_t>(FLAGS_connections));
    for (int i = 0; i < FLAGS_connections; ++i)
      idle_.push_back(run.lines.open([this](size_t line, const HttpAnswer& answer) { hear(line, answer); }));
    if (!idle_.empty()) first_line_ = idle_.front();
  }

  // What is due now goes out; when the next one is.
  Clock::time_point send_due(Clock::time_point now, Clock::time_point start) {
    if (FLAGS_rate <= 0) {
      while (!idle_.empty() && now < run_.end) send(now);
      return run_.end;
    }
    while (next_due(start) <= now && next_due(start) < run_.end) {
      waiting_.push_back(next_due(start));
      ++due_count_;
    }
    while (!waiting_.empty() && !idle_.empty()) {
      const auto due = waiting_.front();
      waiting_.pop_front();
      send(due);
    }
    return std::min(next_due(start), run_.end);
  }
  [[nodiscard]] bool over() const { return waiting_.empty() && idle_.size() == due_.size(); }

  void tell(nlohmann::json& object) {
    object["sent"] = sent_;
    object["stored"] = stored_;
    object["not_stored"] = sent_ - stored_;
    object["unsent"] = waiting_.size();
    object["unanswered"] = due_.size() - idle_.size();
    for (const auto due : waiting_) latencies_.add(due, run_.begin, run_.end);
    for (size_t at = 0; at < due_.size(); ++at) {
      if (std::ranges::find(idle_, first_line_ + at) == idle_.end()) latencies_.add(due_[at], run_.begin, run_.end);
    }
    object["cycle"] = requests_.size();
    object["per_s"] = static_cast<double>(answered_in_time_) / FLAGS_seconds;
    latencies_.tell(object);
  }

 private:
  [[nodiscard]] Clock::time_point next_due(Clock::time_point start) const {
    return start + of(static_cast<double>(due_count_) / FLAGS_rate);
  }
  void send(Clock::time_point due) {
    const size_t line = idle_.back();
    idle_.pop_back();
    due_[line - first_line_] = due;
    run_.lines.send(line, requests_[sent_++ % requests_.size()]);
  }
  void hear(size_t line, const HttpAnswer& answer) {
    const auto now = Clock::now();
    if (answer.status == 200) {
      ++stored_;
      if (now >= run_.begin && now < run_.end) ++answered_in_time_;
      latencies_.add(due_[line - first_line_], run_.begin, run_.end);
    }
    idle_.push_back(line);
    if (FLAGS_rate <= 0 && now < run_.end) return send(now);
    if (!waiting_.empty()) {
      const auto due = waiting_.front();
      waiting_.pop_front();
      send(due);
    }
  }

  Run& run_;
  std::vector<std::string> requests_;
  std::vector<size_t> idle_;
  std::vector<Clock::time_point> due_;  // by connection
  std::deque<Clock::time_point> waiting_;
  size_t first_line_ = 0;
  size_t due_count_ = 0, sent_ = 0, stored_ = 0, answered_in_time_ = 0;
  Latencies latencies_;
};

// Each has a connection of its own at a time.
class Probes {
 public:
  explicit Probes(Run& run) : run_(run) {}

  Clock::time_point send_due(Clock::time_point now, Clock::time_point start) {
    if (FLAGS_probes <= 0) return run_.end;
    for (; next_due(start) <= now && next_due(start) < run_.end; ++sent_) {
      const size_t line = free_line();
      Probe& probe = probes_.at(line);
      probe = {.number = FLAGS_first_probe + sent_, .due = next_due(start), .stored = false};
      due_of_.push_back(probe.due);
      run_.lines.send(line, post(probe_word(probe.number), 0));
      ++under_way_;
    }
    while (!looks_.empty() && looks_.front().first <= now) {
      look(looks_.front().second);
      looks_.pop_front();
    }
    const auto next = next_due(start) < run_.end ? next_due(start) : run_.end;
    return looks_.empty() ? next : std::min(next, looks_.front().first);
  }
  [[nodiscard]] bool over() const { return under_way_ == 0; }
  [[nodiscard]] int64_t sent() const { return sent_; }
  [[nodiscard]] Clock::time_point due(int64_t number) const {
    return due_of_.at(static_cast<size_t>(number - FLAGS_first_probe));
  }

  void tell(nlohmann::json& object) {
    object["probes"] = sent_;
    if (!FLAGS_readable) return;
    object["readable"] = readable_.count();
    object["unreadable"] = under_way_;
    for (const auto& [line, probe] : probes_) {
      if (std::ranges::find(free_, line) == free_.end()) readable_.add(probe.due, run_.begin, run_.end);
    }
    readable_.tell(object, "readable_");
  }

 private:
  struct Probe {
    int64_t number = 0;
    Clock::time_point due;
    bool stored = false;
  };

  [[nodiscard]] Clock::time_point next_due(Clock::time_point start) const {
    return start + of(static_cast<double>(sent_) / FLAGS_probes);
  }
  size_t free_line() {
    if (free_.empty()) {
      const size_t line = run_.lines.open([this](size_t on, const HttpAnswer& answer) { hear(on, answer); });
      probes_[line] = {};
      return line;
    }
    const size_t line = free_.back();
    free_.pop_back();
    return line;
  }
  void look(size_t line) {
    run_.lines.send(line, "GET /api/v1/jobs/" + FLAGS_job + "/counts/" + probe_word(probes_.at(line).number) +
                              " HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
  }
  void hear(size_t line, const HttpAnswer& answer) {
    Probe& probe = probes_.at(line);
    if (!probe.stored && answer.status != 200)
      millrace::give_up("a probe is refused: " + std::string(answer.body.substr(0, 300)));
    if (!probe.stored && FLAGS_readable) {
      probe.stored = true;
      return look(line);
    }
    if (FLAGS_readable && answer.body.find("\"count\":1") == std::string_view::npos) {
      looks_.emplace_back(Clock::now() + kPauseOfLooks, line);
      return;
    }
    if (FLAGS_readable) readable_.add(probe.due, run_.begin, run_.end);
    free_.push_back(line);
    --under_way_;
  }

  Run& run_;
  std::map<size_t, Probe> probes_;  // by connection
  std::vector<size_t> free_;
  std::deque<std::pair<Clock::time_point, size_t>> looks_;  // when which connection asks again
  std::vector<Clock::time_point> due_of_;                   // by the probe's number
  int64_t sent_ = 0;
  size_t under_way_ = 0;
  Latencies readable_;
};

// Readers of the stream of events.
class Readers {
 public:
  Readers(Run& run, const Probes& probes) : run_(run), probes_(probes) {
    for (int i = 0; i < FLAGS_readers; ++i) {
      const size_t line =
          run.lines.open_stream([this](size_t from, std::string_view bytes) { hear(readers_.at(from), bytes); });
      readers_[line] = {};
      run.lines.send(line, "GET /api/v1/jobs/" + FLAGS_job + "/stream HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
      // Not more at once than a server lets wait.
      if (i % 50 == 49) run.lines.run_until(Clock::now() + std::chrono::milliseconds(5));
    }
    const auto until = Clock::now() + of(FLAGS_patience);
    while (begun_ < readers_.size() && Clock::now() < until)
      run.lines.run_until(Clock::now() + std::chrono::milliseconds(10));
    if (begun_ < readers_.size()) millrace::give_up(std::to_string(readers_.size() - begun_) + " readers hear nothing");
  }

  [[nodiscard]] bool over() const {
    return std::ranges::all_of(readers_, [this](const auto& reader) { return reader.second.seen == probes_.sent(); });
  }

  void tell(nlohmann::json& object) {
    if (readers_.empty()) return;
    int64_t missing = 0;
    int64_t fewest = INT64_MAX;
    for (const auto& [line, reader] : readers_) {
      missing += probes_.sent() - reader.seen;
      for (int64_t number = reader.seen; number < probes_.sent(); ++number)
        seen_.add(probes_.due(FLAGS_first_probe + number), run_.begin, run_.end);
      fewest = std::min(fewest, reader.events);
    }
    object["readers"] = readers_.size();
    object["missing"] = missing;
    object["out_of_turn"] = out_of_turn_;
    object["resets"] = resets_ - static_cast<int64_t>(readers_.size());  // each begins with one
    object["events_of_a_reader"] = fewest;
    seen_.tell(object, "seen_");
  }

 private:
  struct Reader {
    std::string rest;  // of a line that is not over
    int64_t seen = 0;  // probes, which come in turn
    int64_t events = 0;
    bool begun = false;
  };

  void hear(Reader& reader, std::string_view bytes) {
    if (!reader.begun && !bytes.empty()) {
      reader.begun = true;
      ++begun_;
    }
    reader.rest += bytes;
    size_t begin = 0;
    for (size_t end = reader.rest.find('\n'); end != std::string::npos; end = reader.rest.find('\n', begin)) {
      hear_line(reader, std::string_view(reader.rest).substr(begin, end - begin));
      begin = end + 1;
    }
    reader.rest.erase(0, begin);
  }

  void hear_line(Reader& reader, std::string_view line) {
    if (line.starts_with("event: changes")) ++reader.events;
    if (line.starts_with("event: reset")) ++resets_;
    if (!line.starts_with("data: ")) return;
    std::vector<int64_t> numbers;
    for (size_t at = line.find(kProbe); at != std::string_view::npos; at = line.find(kProbe, at + 1))
      numbers.push_back(std::strtoll(line.data() + at + kProbe.size(), nullptr, 10));
    std::ranges::sort(numbers);
    for (const int64_t number : numbers) {
      // A batch has what came to the log before it, so probes of later batches have higher numbers but for those that
      // were under way at once.
      if (number != FLAGS_first_probe + reader.seen) ++out_of_turn_;
      ++reader.seen;
      seen_.add(probes_.due(number), run_.begin, run_.end);
    }
  }

  Run& run_;
  const Probes& probes_;
  std::map<size_t, Reader> readers_;  // by connection
  size_t begun_ = 0;
  int64_t out_of_turn_ = 0;
  int64_t resets_ = 0;
  Latencies seen_;
};

}  // namespace

int main(int argc, char** argv) {
  gflags::ParseCommandLineFlags(&argc, &argv, true);
  const auto descriptors = static_cast<uint64_t>(FLAGS_connections + FLAGS_readers) + 1000;
  if (const auto raised = millrace::raise_descriptor_limit(descriptors); !raised)
    millrace::give_up("http_load: " + raised.error().message);
  Run run;
  Texts texts(run);
  Probes probes(run);
  Readers readers(run, probes);
  const auto start = Clock::now();
  run.begin = start + of(FLAGS_warm_up);
  run.end = run.begin + of(FLAGS_seconds);
  const auto send_due = [&] {
    const auto now = Clock::now();
    return std::min(FLAGS_connections > 0 ? texts.send_due(now, start) : run.end, probes.send_due(now, start));
  };
  while (Clock::now() < run.end) run.lines.run_until(send_due());
  const auto until = Clock::now() + of(FLAGS_patience);
  while (Clock::now() < until && !(texts.over() && probes.over() && readers.over())) {
    send_due();
    run.lines.run_until(Clock::now() + std::chrono::milliseconds(1));
  }
  nlohmann::json object = {{"seconds", FLAGS_seconds}};
  texts.tell(object);
  probes.tell(object);
  readers.tell(object);
  std::printf("%s\n", object.dump().c_str());
  return 0;
}
