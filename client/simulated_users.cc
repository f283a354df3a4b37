#include "client/simulated_users.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <numeric>
#include <utility>

namespace millrace::client {
namespace {

using std::chrono::steady_clock;

constexpr Duration kAnswerLimit = std::chrono::seconds(15);      // a gateway gives up earlier
constexpr Duration kFirstPause = std::chrono::milliseconds(50);  // before a try that nobody told a time for
constexpr Duration kLongestPause = std::chrono::seconds(1);

double ms_since(steady_clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(steady_clock::now() - begin).count();
}

Duration retry_after(const HttpResponse& answer) {
  for (const auto& [name, value] : answer.headers) {
    int64_t seconds = 0;
    if (!same_http_name(name, "Retry-After")) continue;
    const auto read = std::from_chars(value.data(), value.data() + value.size(), seconds);
    if (read.ec == std::errc() && seconds >= 0) return std::chrono::seconds(std::min<int64_t>(seconds, 3600));
  }
  return kLongestPause;
}

}  // namespace

void SimulationFigures::add(const SimulationFigures& other) {
  sent += other.sent;
  accepted += other.accepted;
  refused += other.refused;
  errors += other.errors;
  given_up += other.given_up;
  unknown += other.unknown;
  latency_ms.insert(latency_ms.end(), other.latency_ms.begin(), other.latency_ms.end());
}

double SimulationFigures::quantile(double share) {
  if (latency_ms.empty()) return 0;
  std::ranges::sort(latency_ms);
  return latency_ms[std::min(latency_ms.size() - 1,
                             static_cast<size_t>(share * static_cast<double>(latency_ms.size())))];
}

class SimulatedUsers::User {
 public:
  User(SimulatedUsers& all, size_t number)
      : all_(all),
        number_(number),
        name_(simulated_user(number, all.options_.salt)),
        gateway_(number),
        source_(all.options_.seed, number, all.options_.salt, all.options_.rate),
        due_(all.begin_) {
    ++all_.at_work_;
    wait_for_next();
  }

 private:
  struct Text {
    steady_clock::time_point due;
    std::vector<std::string> words;
    std::string body;
    std::string key;
    steady_clock::time_point first_try;
    Duration pause = kFirstPause;
    bool maybe_stored = false;
  };

  void wait_for_next() {
    due_ += std::chrono::duration_cast<Duration>(std::chrono::duration<double>(source_.pause()));
    if (due_ >= all_.begin_ + all_.options_.duration) {
      over_ = true;
      return end_if_over();
    }
    all_.caller_.schedule(std::max(Duration(0), Duration(due_ - steady_clock::now())), [this] {
      write();
      wait_for_next();
    });
  }

  void write() {
    Text text{.due = due_, .words = source_.words(), .body = "", .key = ""};
    std::string line;
    for (const std::string& word : text.words) line += (line.empty() ? "" : " ") + word;
    text.body = nlohmann::json{{"text", line}, {"user_id", name_}}.dump();
    text.key = all_.options_.key_base + "-" + std::to_string(number_) + "-" + std::to_string(++texts_);
    waiting_.push_back(std::move(text));
    if (waiting_.size() == 1) begin();
  }

  void begin() {
    waiting_.front().first_try = steady_clock::now();
    ++all_.now_.sent;
    send();
  }

  void send() {
    const Text& text = waiting_.front();
    const auto& gateways = all_.options_.gateways;
    HttpCall call{.server = gateways[gateway_ % gateways.size()],
                  .line = number_,
                  .method = "POST",
                  .target = "/submit_text",
                  .body = text.body,
                  .headers = all_.options_.headers,
                  .limit = kAnswerLimit};
    call.headers.emplace_back("Content-Type", "application/json");
    const bool keyed = all_.with_keys_;
    if (keyed) call.headers.emplace_back("Idempotency-Key", text.key);
    all_.caller_.call(std::move(call), [this, keyed](Result<HttpResponse> answer) { hear(answer, keyed); });
  }

  void hear(const Result<HttpResponse>& answer, bool keyed) {
    Text& text = waiting_.front();
    if (answer && answer->status == 200) return accepted();
    if (answer && (answer->status == 429 || answer->status == 503)) {
      ++all_.now_.refused;
      if (answer->status == 503) ++gateway_;
      return later(retry_after(*answer));
    }
    if (answer && answer->status == 400 && keyed) {
      // Nothing else is wrong with it.
      all_.with_keys_ = false;
      return send();
    }
    if (answer && answer->status < 500) {
      all_.outcome_ =
          fail(ErrorCode::kInvalid, "a gateway answers " + std::to_string(answer->status) + ": " + detail_of(*answer));
      return all_.caller_.stop();
    }
    ++all_.now_.errors;
    ++gateway_;
    const bool not_sent = !answer && answer.error().code == ErrorCode::kUnavailable;
    if (!not_sent) text.maybe_stored = true;
    if (!not_sent && !keyed) return give_up();
    later(std::exchange(text.pause, std::min(kLongestPause, text.pause * 2)));
  }

  static std::string detail_of(const HttpResponse& answer) {
    const auto problem = nlohmann::json::parse(answer.body, nullptr, false);
    return problem.is_object() ? problem.value("detail", "") : answer.body.substr(0, 200);
  }

  void accepted() {
    const Text& text = waiting_.front();
    ++all_.now_.accepted;
    all_.now_.latency_ms.push_back(static_cast<float>(ms_since(text.due)));
    for (const std::string& word : text.words) ++all_.words_[word];
    ++all_.texts_[name_];
    next();
  }

  void later(Duration pause) {
    if (steady_clock::now() + pause > waiting_.front().first_try + all_.options_.patience) return give_up();
    all_.caller_.schedule(pause, [this] { send(); });
  }

  void give_up() {
    const Text& text = waiting_.front();
    if (text.maybe_stored) {
      ++all_.now_.unknown;
      for (const std::string& word : text.words) ++all_.unknown_words_[word];
      ++all_.unknown_texts_[name_];
    } else {
      ++all_.now_.given_up;
    }
    next();
  }

  void next() {
    waiting_.pop_front();
    if (waiting_.empty()) return end_if_over();
    begin();
  }

  void end_if_over() {
    if (over_ && waiting_.empty()) --all_.at_work_;
  }

  SimulatedUsers& all_;
  const size_t number_;
  const std::string name_;
  size_t gateway_;  // the next one, by number
  SimulatedText source_;
  steady_clock::time_point due_;  // when the next text is to be sent
  int64_t texts_ = 0;             // written
  bool over_ = false;             // no more are written
  std::deque<Text> waiting_;      // the first one is being sent
};

SimulatedUsers::SimulatedUsers(SimulationOptions options, HttpCaller& caller, EachSecond each_second)
    : options_(std::move(options)), caller_(caller), each_second_(std::move(each_second)) {}

SimulatedUsers::~SimulatedUsers() = default;

Status SimulatedUsers::run() {
  begin_ = steady_clock::now();
  for (size_t number = 0; number < options_.users; ++number) users_.push_back(std::make_unique<User>(*this, number));
  tell_each_second();
  caller_.run();
  return outcome_;
}

void SimulatedUsers::tell_each_second() {
  const auto next = begin_ + std::chrono::seconds(second_ + 1);
  caller_.schedule(std::max(Duration(0), Duration(next - steady_clock::now())), [this] {
    ++second_;
    all_.add(now_);
    each_second_(second_, std::exchange(now_, {}));
    if (at_work_ > 0) tell_each_second();
  });
}

}  // namespace millrace::client
