// latency: appends the lines of a text to a Kafka topic at a steady rate and looks when each is counted in Redis. Each
// probe line has a word of its own behind its text; from the time when the line was due, whether or not it could be
// sent then, to the answer of Redis that has the word, is its latency. Prints one JSON object.
//
//   latency --brokers=127.0.0.1:9092 --topic=lines --partitions=4 --redis_port=6379 --hash={wc}:counts
//           --text=lines.txt --rate=1000 --seconds=20
#include <gflags/gflags.h>
#include <hiredis/hiredis.h>
#include <librdkafka/rdkafka.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

DEFINE_string(brokers, "127.0.0.1:9092", "HOST:PORT[,HOST:PORT]");
DEFINE_string(topic, "", "An existing topic");
DEFINE_int32(partitions, 4, "Partitions of the topic");
DEFINE_int32(redis_port, 6379, "Of a Redis on 127.0.0.1");
DEFINE_string(hash, "", "The hash in which the counts stand");
DEFINE_string(text, "", "A file with the lines, taken again from its begin where it ends");
DEFINE_int64(rate, 1000, "Lines a second");
DEFINE_int64(probes, 1000, "Probes a second, at most");
DEFINE_int64(seconds, 20, "How long lines are appended");
DEFINE_int64(warm_up, 20, "So many seconds before that, without probes: a broker compiles its code at first");
DEFINE_int32(linger_ms, 2, "How long the producer waits for more lines to send; it is a part of the latency");
DEFINE_string(samples, "", "A file for each probe's times, DUE SEEN in seconds of the monotonic clock; empty: none");
DEFINE_int64(patience_s, 30, "How long the last probes are waited for");

namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kProbesAtOnce = 64;
constexpr std::chrono::microseconds kPauseOfLooks{500};

[[noreturn]] void give_up(const std::string& problem) {
  std::fprintf(stderr, "latency: %s\n", problem.c_str());
  std::exit(1);
}

struct Probe {
  std::string word;
  Clock::time_point due;
};

struct Sample {
  Clock::time_point due;
  Clock::time_point seen;
};

// From the thread that appends to the one that looks.
class Probes {
 public:
  void add(Probe probe) {
    const std::scoped_lock lock(mutex_);
    waiting_.push_back(std::move(probe));
  }
  void take(std::vector<Probe>& to) {
    const std::scoped_lock lock(mutex_);
    for (Probe& probe : waiting_) to.push_back(std::move(probe));
    waiting_.clear();
  }

 private:
  std::mutex mutex_;
  std::vector<Probe> waiting_;
};

std::vector<std::string> read_lines() {
  std::ifstream file(FLAGS_text);
  std::vector<std::string> lines;
  const auto most = static_cast<size_t>(FLAGS_rate * (FLAGS_warm_up + FLAGS_seconds));
  for (std::string line; lines.size() < most && std::getline(file, line);) lines.push_back(std::move(line));
  if (lines.empty()) give_up("--text has no lines: " + FLAGS_text);
  return lines;
}

// `acknowledged`: of each line of the measurement, the milliseconds until the broker had it.
void note_delivery(rd_kafka_t*, const rd_kafka_message_t* message, void* acknowledged) {
  if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) give_up(rd_kafka_err2str(message->err));
  static_cast<std::vector<double>*>(acknowledged)
      ->push_back(static_cast<double>(rd_kafka_message_latency(message)) / 1000);
}

// Waits for no answer before it sends on: an idempotent producer has five requests under way at most, and spins while
// it waits for one.
class Producer {
 public:
  Producer() {
    char text[512] = {};
    const std::string linger_ms = std::to_string(FLAGS_linger_ms);
    rd_kafka_conf_t* conf = rd_kafka_conf_new();
    for (const auto& [name, value] : {std::pair{"bootstrap.servers", FLAGS_brokers.c_str()},
                                      {"linger.ms", linger_ms.c_str()},
                                      {"acks", "all"},
                                      {"socket.nagle.disable", "true"}}) {
      if (rd_kafka_conf_set(conf, name, value, text, sizeof text) != RD_KAFKA_CONF_OK) give_up(text);
    }
    rd_kafka_conf_set_dr_msg_cb(conf, note_delivery);
    rd_kafka_conf_set_opaque(conf, &acknowledged_);
    client_ = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
    if (client_ == nullptr) give_up(text);
    topic_ = rd_kafka_topic_new(client_, FLAGS_topic.c_str(), nullptr);
  }
  ~Producer() {
    rd_kafka_topic_destroy(topic_);
    rd_kafka_destroy(client_);
  }
  Producer(const Producer&) = delete;
  Producer& operator=(const Producer&) = delete;

  void append(std::string& line, int32_t partition) {
    while (rd_kafka_produce(topic_, partition, RD_KAFKA_MSG_F_COPY, line.data(), line.size(), nullptr, 0, nullptr) !=
           0) {
      const rd_kafka_resp_err_t error = rd_kafka_last_error();
      if (error != RD_KAFKA_RESP_ERR__QUEUE_FULL) give_up(rd_kafka_err2str(error));
      rd_kafka_poll(client_, 1);
    }
    rd_kafka_poll(client_, 0);
  }
  void flush() {
    const rd_kafka_resp_err_t error = rd_kafka_flush(client_, static_cast<int>(FLAGS_patience_s * 1000));
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR) give_up(rd_kafka_err2str(error));
  }
  // In milliseconds, of all lines since it was last asked for.
  std::vector<double> take_acknowledged() { return std::exchange(acknowledged_, {}); }

 private:
  std::vector<double> acknowledged_;
  rd_kafka_t* client_;
  rd_kafka_topic_t* topic_;
};

// Lines first to end - 1, each when it is due, until the broker has all of them; with probes among them where there is
// somebody to look for these. Milliseconds by which the latest append was late.
double append_lines(Producer& producer, const std::vector<std::string>& lines, int64_t first, int64_t end,
                    Probes* probes) {
  const int64_t step = std::max<int64_t>(1, FLAGS_rate / FLAGS_probes);
  const Clock::time_point begin = Clock::now();
  double latest_ms = 0;
  for (int64_t i = first; i < end; ++i) {
    const double due_s = static_cast<double>(i - first) / static_cast<double>(FLAGS_rate);
    const Clock::time_point due = begin + std::chrono::nanoseconds(std::llround(1e9 * due_s));
    std::this_thread::sleep_until(due);
    latest_ms = std::max(latest_ms, std::chrono::duration<double, std::milli>(Clock::now() - due).count());
    std::string line = lines[static_cast<size_t>(i) % lines.size()];
    if (probes != nullptr && i % step == 0) {
      const std::string word = "probe-" + std::to_string(i);
      line += " " + word;
      probes->add({word, due});
    }
    producer.append(line, static_cast<int32_t>(i % FLAGS_partitions));
  }
  producer.flush();
  return latest_ms;
}

struct ContextDeleter {
  void operator()(redisContext* context) const { redisFree(context); }
};
struct ReplyDeleter {
  void operator()(redisReply* reply) const { freeReplyObject(reply); }
};

// Looks until all probes of the appender, which is done when `appended` says so, are counted.
class Watcher {
 public:
  Watcher() : redis_(redisConnect("127.0.0.1", FLAGS_redis_port)) {
    if (redis_ == nullptr || redis_->err != 0) give_up("no Redis at port " + std::to_string(FLAGS_redis_port));
  }

  std::vector<Sample> watch(Probes& probes, const std::atomic<bool>& appended) {
    std::vector<Sample> seen;
    std::vector<Probe> waiting;
    std::optional<Clock::time_point> deadline;
    while (true) {
      const bool all = appended;
      probes.take(waiting);
      if (all && waiting.empty()) return seen;
      if (all && !deadline) deadline = Clock::now() + std::chrono::seconds(FLAGS_patience_s);
      if (deadline && Clock::now() > *deadline) give_up(std::to_string(waiting.size()) + " probes were never counted");
      if (!look(waiting, seen)) std::this_thread::sleep_for(kPauseOfLooks);
    }
  }

 private:
  // Whether any of the oldest ones was there.
  bool look(std::vector<Probe>& waiting, std::vector<Sample>& seen) {
    if (waiting.empty()) return false;
    const size_t looked_at = std::min(waiting.size(), kProbesAtOnce);
    std::vector<const char*> arguments{"HMGET", FLAGS_hash.c_str()};
    for (size_t i = 0; i < looked_at; ++i) arguments.push_back(waiting[i].word.c_str());
    const std::unique_ptr<redisReply, ReplyDeleter> reply(static_cast<redisReply*>(
        redisCommandArgv(redis_.get(), static_cast<int>(arguments.size()), arguments.data(), nullptr)));
    if (reply == nullptr || reply->type != REDIS_REPLY_ARRAY) give_up("Redis does not answer HMGET");
    const Clock::time_point now = Clock::now();
    const size_t before = waiting.size();
    for (size_t i = looked_at; i-- > 0;) {
      if (reply->element[i]->type != REDIS_REPLY_STRING) continue;
      seen.push_back({waiting[i].due, now});
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

void write_samples(const std::vector<Sample>& samples) {
  std::ofstream file(FLAGS_samples);
  file << std::fixed;
  const auto seconds = [](Clock::time_point time) {
    return std::chrono::duration<double>(time.time_since_epoch()).count();
  };
  for (const Sample& sample : samples) file << seconds(sample.due) << ' ' << seconds(sample.seen) << '\n';
  if (!file.flush()) give_up("cannot write " + FLAGS_samples);
}

}  // namespace

int main(int argc, char** argv) {
  gflags::ParseCommandLineFlags(&argc, &argv, true);
  if (FLAGS_topic.empty() || FLAGS_hash.empty() || FLAGS_rate < 1 || FLAGS_probes < 1 || FLAGS_seconds < 1) {
    std::fprintf(stderr,
                 "latency: --topic, --hash, --text are needed, and --rate, --probes, --seconds of at least 1\n");
    return 2;
  }
  const std::vector<std::string> lines = read_lines();
  Producer producer;
  Probes probes;
  std::atomic<bool> appended = false;
  const int64_t first_probe = FLAGS_rate * FLAGS_warm_up;
  append_lines(producer, lines, 0, first_probe, nullptr);
  (void)producer.take_acknowledged();
  double latest_ms = 0;
  Watcher watcher;
  std::thread appender([&] {
    latest_ms = append_lines(producer, lines, first_probe, first_probe + FLAGS_rate * FLAGS_seconds, &probes);
    appended = true;
  });
  const std::vector<Sample> samples = watcher.watch(probes, appended);
  appender.join();
  if (!FLAGS_samples.empty()) write_samples(samples);
  std::vector<double> latencies;
  for (const Sample& sample : samples) {
    latencies.push_back(std::chrono::duration<double, std::milli>(sample.seen - sample.due).count());
  }
  std::ranges::sort(latencies);
  std::vector<double> acknowledged = producer.take_acknowledged();
  std::ranges::sort(acknowledged);
  std::printf(
      "{\"probes\": %zu, \"p50_ms\": %.2f, \"p90_ms\": %.2f, \"p99_ms\": %.2f, "
      "\"p999_ms\": %.2f, \"max_ms\": %.2f, \"latest_append_ms\": %.2f, \"acknowledged_p50_ms\": %.2f, "
      "\"acknowledged_p99_ms\": %.2f, \"acknowledged_max_ms\": %.2f}\n",
      latencies.size(), percentile(latencies, 0.5), percentile(latencies, 0.9), percentile(latencies, 0.99),
      percentile(latencies, 0.999), latencies.back(), latest_ms, percentile(acknowledged, 0.5),
      percentile(acknowledged, 0.99), acknowledged.back());
  return 0;
}
