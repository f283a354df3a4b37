// latency: appends the lines of a text to a Kafka topic and looks when they are counted in Redis. Lines go in batches
// that are made before, a batch to each partition in turn; some have a word of their own behind their text. From the
// time when such a line was due, whether or not it could be sent then, to the answer of Redis that has the word, is its
// latency. Either at a steady rate, or as fast as they are counted: never more than --window lines ahead of the first
// one that is not. Prints one JSON object.
//
//   latency --brokers=127.0.0.1:9092 --topic=lines --partitions=4 --redis_port=6379 --hash={wc}:counts
//           --text=lines.txt --rate=1000 --seconds=20
#include <gflags/gflags.h>
#include <hiredis/hiredis.h>
#include <poll.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <fstream>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "bench/prebuilt_batches.h"
#include "bench/produce_connection.h"
#include "common/model/address.h"

DEFINE_string(broker, "127.0.0.1:9092", "HOST:PORT of the one that leads all partitions");
DEFINE_string(topic, "", "An existing topic");
DEFINE_int32(partitions, 4, "Partitions of the topic");
DEFINE_int32(redis_port, 6379, "Of a Redis on 127.0.0.1");
DEFINE_string(hash, "", "The hash in which the counts stand");
DEFINE_string(text, "", "A file with the lines, taken again from its begin where it ends");
DEFINE_int64(rate, 1000, "Lines a second; 0: as fast as they are counted");
DEFINE_int64(window, 2'000'000, "With a rate of 0: so many lines are under way at most");
DEFINE_int64(batch_lines, 1, "Lines a batch, which is due when its last line is");
DEFINE_int64(probe_every, 1,
             "Of the lines of a batch, the first one and each so many after it have a word of their own");
DEFINE_int64(first_line, 0, "The number of the first line, which its word has; another for each run on the same topic");
DEFINE_int64(seconds, 20, "How long is measured");
DEFINE_int64(warm_up, 20, "So many seconds before that: a broker compiles its code at first");
DEFINE_string(samples, "", "A file for each probe's times, DUE SEEN in seconds of the monotonic clock; empty: none");
DEFINE_int64(patience_s, 30, "How long the last probes are waited for");

namespace {

using millrace::PrebuiltBatches;
using millrace::ProduceConnection;
using Clock = std::chrono::steady_clock;

constexpr size_t kProbesAtOnce = 64;
constexpr std::chrono::microseconds kPauseOfLooks{500};

[[noreturn]] void give_up(const std::string& problem) {
  std::fprintf(stderr, "latency: %s\n", problem.c_str());
  std::exit(1);
}

void expect(const millrace::Status& done) {
  if (!done) give_up(done.error().message);
}

double ms_between(Clock::time_point begin, Clock::time_point end) {
  return std::chrono::duration<double, std::milli>(end - begin).count();
}

struct Probe {
  int64_t line;
  Clock::time_point due;
};

struct Sample {
  Probe probe;
  Clock::time_point seen;
};

// Between the thread that appends and the one that looks.
class Probes {
 public:
  void add(Probe probe) {
    const std::scoped_lock lock(mutex_);
    waiting_.push_back(probe);
  }
  void take(std::deque<Probe>& to) {
    const std::scoped_lock lock(mutex_);
    to.insert(to.end(), waiting_.begin(), waiting_.end());
    waiting_.clear();
  }

  // All lines before this one are counted.
  std::atomic<int64_t> counted = FLAGS_first_line;
  // Nothing more will be added.
  std::atomic<bool> appended = false;

 private:
  std::mutex mutex_;
  std::vector<Probe> waiting_;
};

std::vector<std::string> read_lines() {
  std::ifstream file(FLAGS_text);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(std::move(line));
  if (lines.size() < static_cast<size_t>(FLAGS_batch_lines)) give_up("--text has not enough lines: " + FLAGS_text);
  return lines;
}

// One thread for all partitions: it waits for the time of the next batch, or for answers of the broker.
class Appender {
 public:
  Appender(PrebuiltBatches& batches, Probes& probes, Clock::time_point begin)
      : batches_(batches), probes_(probes), begin_(begin), measured_from_(begin + std::chrono::seconds(FLAGS_warm_up)) {
    const auto broker = millrace::parse_address("--broker", FLAGS_broker);
    if (!broker) give_up(broker.error().message);
    for (int32_t partition = 0; partition < FLAGS_partitions; ++partition) {
      auto connection = ProduceConnection::open(*broker, FLAGS_topic, millrace::LogPartition(partition));
      if (!connection) give_up(connection.error().message);
      lanes_.push_back({std::move(*connection), {}});
    }
  }

  void run() {
    while (true) {
      if (FLAGS_rate == 0) wait_for_window();
      const Clock::time_point due = FLAGS_rate > 0 ? line_due(lines_ + FLAGS_batch_lines - 1) : Clock::now();
      if (due >= measured_from_ + std::chrono::seconds(FLAGS_seconds)) break;
      wait_until(due);
      append(due);
    }
    for (Lane& lane : lanes_) {
      while (lane.connection.unanswered() > 0) hear(lane);
    }
    probes_.appended = true;
  }

  // Once run() is over. Lines, from the first one of the text on and then again, and milliseconds of those that are
  // measured: from the time when a batch was due to the broker's answer, and by how much the latest one was sent late.
  [[nodiscard]] int64_t lines() const { return lines_; }
  [[nodiscard]] std::vector<double> acknowledged_ms() const { return acknowledged_ms_; }
  [[nodiscard]] double latest_ms() const { return latest_ms_; }

 private:
  struct Lane {
    ProduceConnection connection;
    std::deque<Clock::time_point> due;  // of the batches without an answer
  };

  [[nodiscard]] Clock::time_point line_due(int64_t line) const {
    const double due_s = static_cast<double>(line) / static_cast<double>(FLAGS_rate);
    return begin_ + std::chrono::nanoseconds(std::llround(1e9 * due_s));
  }

  void wait_for_window() {
    const Clock::time_point deadline = Clock::now() + std::chrono::seconds(FLAGS_patience_s);
    while (FLAGS_first_line + lines_ + FLAGS_batch_lines - probes_.counted > FLAGS_window) {
      if (Clock::now() > deadline) give_up("nothing is counted any more");
      wait_until(Clock::now() + kPauseOfLooks);
    }
  }

  void append(Clock::time_point due) {
    const int64_t batch = lines_ / FLAGS_batch_lines;
    const int64_t first_line = FLAGS_first_line + lines_;
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    const std::string_view bytes = batches_.fill(static_cast<size_t>(batch) % batches_.count(), first_line,
                                                 std::chrono::duration_cast<std::chrono::milliseconds>(now).count());
    for (int64_t i = 0; i < FLAGS_batch_lines; i += FLAGS_probe_every) {
      probes_.add({first_line + i, FLAGS_rate > 0 ? line_due(lines_ + i) : due});
    }
    Lane& lane = lanes_[static_cast<size_t>(batch) % lanes_.size()];
    lane.due.push_back(due);
    if (due >= measured_from_) latest_ms_ = std::max(latest_ms_, ms_between(due, Clock::now()));
    expect(lane.connection.send(bytes));
    lines_ += FLAGS_batch_lines;
  }

  void hear(Lane& lane) {
    expect(lane.connection.hear());
    if (lane.due.front() >= measured_from_) acknowledged_ms_.push_back(ms_between(lane.due.front(), Clock::now()));
    lane.due.pop_front();
  }

  void wait_until(Clock::time_point time) {
    std::vector<pollfd> watched;
    for (const Lane& lane : lanes_) watched.push_back({lane.connection.descriptor(), POLLIN, 0});
    while (true) {
      const auto left = std::max(std::chrono::nanoseconds(time - Clock::now()), std::chrono::nanoseconds(0));
      const timespec timeout{.tv_sec = left.count() / 1'000'000'000, .tv_nsec = left.count() % 1'000'000'000};
      const int ready = ::ppoll(watched.data(), watched.size(), &timeout, nullptr);
      if (ready < 0) give_up("ppoll failed");
      if (ready == 0) return;
      for (size_t i = 0; i < lanes_.size(); ++i) {
        if (watched[i].revents != 0) hear(lanes_[i]);
      }
      if (left.count() == 0) return;  // what else there is to hear is heard next time
    }
  }

  PrebuiltBatches& batches_;
  Probes& probes_;
  const Clock::time_point begin_;
  const Clock::time_point measured_from_;
  std::vector<Lane> lanes_;
  int64_t lines_ = 0;
  std::vector<double> acknowledged_ms_;
  double latest_ms_ = 0;
};

struct ContextDeleter {
  void operator()(redisContext* context) const { redisFree(context); }
};
struct ReplyDeleter {
  void operator()(redisReply* reply) const { freeReplyObject(reply); }
};

// Looks until all probes of the appender are counted.
class Watcher {
 public:
  Watcher() : redis_(redisConnect("127.0.0.1", FLAGS_redis_port)) {
    if (redis_ == nullptr || redis_->err != 0) give_up("no Redis at port " + std::to_string(FLAGS_redis_port));
  }

  std::vector<Sample> watch(Probes& probes) {
    std::vector<Sample> seen;
    std::deque<Probe> waiting;
    std::optional<Clock::time_point> deadline;
    while (true) {
      const bool all = probes.appended;
      probes.take(waiting);
      if (all && waiting.empty()) return seen;
      if (all && !deadline) deadline = Clock::now() + std::chrono::seconds(FLAGS_patience_s);
      if (deadline && Clock::now() > *deadline) give_up(std::to_string(waiting.size()) + " probes were never counted");
      if (!look(waiting, seen)) std::this_thread::sleep_for(kPauseOfLooks);
      if (!waiting.empty()) probes.counted = waiting.front().line;
    }
  }

 private:
  // Whether any of the oldest ones was there.
  bool look(std::deque<Probe>& waiting, std::vector<Sample>& seen) {
    if (waiting.empty()) return false;
    const size_t looked_at = std::min(waiting.size(), kProbesAtOnce);
    std::vector<std::string> words{"HMGET", FLAGS_hash};
    for (size_t i = 0; i < looked_at; ++i) words.push_back(PrebuiltBatches::probe_word(waiting[i].line));
    std::vector<const char*> arguments;
    for (const std::string& word : words) arguments.push_back(word.c_str());
    const std::unique_ptr<redisReply, ReplyDeleter> reply(static_cast<redisReply*>(
        redisCommandArgv(redis_.get(), static_cast<int>(arguments.size()), arguments.data(), nullptr)));
    if (reply == nullptr || reply->type != REDIS_REPLY_ARRAY) give_up("Redis does not answer HMGET");
    const Clock::time_point now = Clock::now();
    const size_t before = waiting.size();
    for (size_t i = looked_at; i-- > 0;) {
      if (reply->element[i]->type != REDIS_REPLY_STRING) continue;
      seen.push_back({waiting[i], now});
      waiting.erase(waiting.begin() + static_cast<ptrdiff_t>(i));
    }
    return waiting.size() < before;
  }

  std::unique_ptr<redisContext, ContextDeleter> redis_;
};

double percentile(const std::vector<double>& ascending, double share) {
  const auto rank = static_cast<size_t>(std::ceil(share * static_cast<double>(ascending.size())));
  return ascending[std::clamp<size_t>(rank, 1, ascending.size()) - 1];
}

// Lines a second that were counted from the first of `seen` on, which are in the order of their counting, until `end`.
double lines_per_s(const std::vector<Sample>& seen, Clock::time_point end) {
  int64_t lines = 0;
  int64_t lines_at_first = 0;
  Clock::time_point last = seen.front().seen;
  for (const Sample& sample : seen) {
    if (sample.seen > end) break;
    last = sample.seen;
    lines = std::max(lines, sample.probe.line);
    if (last == seen.front().seen) lines_at_first = lines;
  }
  return 1000 * static_cast<double>(lines - lines_at_first) / std::max(ms_between(seen.front().seen, last), 1.0);
}

void write_samples(const std::vector<Sample>& samples) {
  std::ofstream file(FLAGS_samples);
  file << std::fixed;
  const auto seconds = [](Clock::time_point time) {
    return std::chrono::duration<double>(time.time_since_epoch()).count();
  };
  for (const Sample& sample : samples) file << seconds(sample.probe.due) << ' ' << seconds(sample.seen) << '\n';
  if (!file.flush()) give_up("cannot write " + FLAGS_samples);
}

void print(const Appender& appender, size_t cycle_lines, const std::vector<Sample>& samples, double rate) {
  std::vector<double> latencies;
  for (const Sample& sample : samples) latencies.push_back(ms_between(sample.probe.due, sample.seen));
  std::ranges::sort(latencies);
  std::vector<double> acknowledged = appender.acknowledged_ms();
  std::ranges::sort(acknowledged);
  std::printf(
      "{\"lines\": %lld, \"cycle_lines\": %zu, \"lines_per_s\": %.0f, \"probes\": %zu, \"p50_ms\": %.2f, "
      "\"p90_ms\": %.2f, \"p99_ms\": %.2f, \"p999_ms\": %.2f, \"max_ms\": %.2f, \"latest_append_ms\": %.2f, "
      "\"acknowledged_p50_ms\": %.2f, \"acknowledged_p99_ms\": %.2f, \"acknowledged_max_ms\": %.2f}\n",
      static_cast<long long>(appender.lines()), cycle_lines, rate, latencies.size(), percentile(latencies, 0.5),
      percentile(latencies, 0.9), percentile(latencies, 0.99), percentile(latencies, 0.999), latencies.back(),
      appender.latest_ms(), percentile(acknowledged, 0.5), percentile(acknowledged, 0.99), acknowledged.back());
}

}  // namespace

int main(int argc, char** argv) {
  gflags::ParseCommandLineFlags(&argc, &argv, true);
  if (FLAGS_topic.empty() || FLAGS_hash.empty() || FLAGS_rate < 0 || FLAGS_window < 1 || FLAGS_batch_lines < 1 ||
      FLAGS_probe_every < 1 || FLAGS_seconds < 1 || FLAGS_partitions < 1) {
    std::fprintf(stderr,
                 "latency: --topic, --hash, --text are needed, and --window, --batch_lines, --probe_every, --seconds, "
                 "--partitions of at least 1\n");
    return 2;
  }
  PrebuiltBatches batches(read_lines(), static_cast<size_t>(FLAGS_batch_lines), static_cast<size_t>(FLAGS_probe_every));
  Probes probes;
  Watcher watcher;
  const Clock::time_point begin = Clock::now();
  Appender appender(batches, probes, begin);
  std::thread appending([&] { appender.run(); });
  std::vector<Sample> samples = watcher.watch(probes);
  appending.join();
  const Clock::time_point measured_from = begin + std::chrono::seconds(FLAGS_warm_up);
  std::erase_if(samples, [&](const Sample& sample) { return sample.probe.due < measured_from; });
  if (samples.empty()) give_up("no probe was due in the time that is measured");
  if (!FLAGS_samples.empty()) write_samples(samples);
  print(appender, batches.count() * static_cast<size_t>(FLAGS_batch_lines), samples,
        lines_per_s(samples, measured_from + std::chrono::seconds(FLAGS_seconds)));
  return 0;
}
