#include "client/simulated_users.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

namespace millrace::client {
namespace {

using testing::HasSubstr;

// Gateways in memory, whose time is over at once. Of the texts, by number, some are stored without an answer, and
// others are refused; each of that happens to a text once.
class LossyGateways : public HttpCaller {
 public:
  bool takes_keys = true;
  int answer = 0;  // to everything, if it is not 0
  std::map<std::string, int64_t> words, users;
  size_t stored = 0;
  std::set<uint16_t> ports;
  int too_early = 0;  // texts that came again before the time that they were told

  void call(HttpCall call, Answered answered) override {
    ports.insert(call.server.port);
    tasks_.emplace(now_,
                   [this, call = std::move(call), answered = std::move(answered)]() mutable { answered(take(call)); });
  }
  void schedule(Duration delay, Task task) override { tasks_.emplace(now_ + delay, std::move(task)); }
  void run() override {
    while (!tasks_.empty() && !stopped_) {
      auto first = tasks_.extract(tasks_.begin());
      now_ = first.key();
      first.mapped()();
    }
  }
  void stop() override { stopped_ = true; }

 private:
  Result<HttpResponse> take(const HttpCall& call) {
    if (answer != 0) return http_problem(answer, "not so");
    std::string key;
    for (const auto& [name, value] : call.headers) {
      if (name == "Idempotency-Key") key = value;
    }
    if (!key.empty() && !takes_keys) return http_problem(400, "no keys");
    const size_t number = calls_++;
    if (!key.empty() && now_ < refused_until_[key]) ++too_early;
    if (number % 7 == 1) return fail(ErrorCode::kUnavailable, "refused");
    if (number % 7 == 2 || number % 7 == 3) {
      refused_until_[key] = now_ + std::chrono::seconds(1);
      return refused(number % 7 == 2 ? 429 : 503);
    }
    store(call, key);
    if (number % 7 == 4) return fail(ErrorCode::kTimeout, "lost");
    if (number % 7 == 5) return http_problem(504, "late");
    return HttpResponse{.body = "{}"};
  }
  static HttpResponse refused(int status) {
    HttpResponse response = http_problem(status, "later");
    response.headers.emplace_back("retry-after", "1");
    return response;
  }
  void store(const HttpCall& call, const std::string& key) {
    if (!key.empty() && !keys_.insert(key).second) return;
    ++stored;
    const auto body = nlohmann::json::parse(call.body);
    ++users[body["user_id"]];
    std::istringstream text(body["text"].get<std::string>());
    for (std::string word; text >> word;) ++words[word];
  }

  Duration now_{0};
  std::multimap<Duration, Task> tasks_;
  std::set<std::string> keys_;
  std::map<std::string, Duration> refused_until_;  // by key
  size_t calls_ = 0;
  bool stopped_ = false;
};

SimulationOptions some_users() {
  SimulationOptions options{.gateways = {{"a", 1}, {"a", 2}}, .headers = {}, .salt = "", .key_base = "run"};
  options.users = 20;
  options.rate = 10;
  options.duration = std::chrono::seconds(10);
  return options;
}

int64_t total(const SimulatedUsers::Counts& counts) {
  int64_t sum = 0;
  for (const auto& [key, count] : counts) sum += count;
  return sum;
}

TEST(SimulatedUsers, what_is_tried_again_with_its_key_is_stored_once) {
  LossyGateways gateways;
  SimulationFigures seconds;
  SimulatedUsers users(some_users(), gateways,
                       [&](int64_t, SimulationFigures figures) { seconds.add(std::move(figures)); });
  ASSERT_TRUE(users.run());
  EXPECT_GT(users.figures().sent, 1000);
  EXPECT_EQ(users.figures().accepted, users.figures().sent);
  EXPECT_EQ(seconds.accepted, users.figures().accepted);
  EXPECT_EQ(seconds.latency_ms.size(), static_cast<size_t>(seconds.accepted));
  EXPECT_EQ(users.words(), gateways.words);
  EXPECT_EQ(users.texts(), gateways.users);
  EXPECT_EQ(gateways.ports, (std::set<uint16_t>{1, 2}));
  EXPECT_GT(users.figures().errors, 0);
  EXPECT_GT(users.figures().refused, 0);
  EXPECT_EQ(gateways.too_early, 0);
  EXPECT_TRUE(users.with_keys());
}

TEST(SimulatedUsers, without_keys_nobody_knows_of_a_text_whose_answer_was_lost_and_it_is_not_sent_again) {
  LossyGateways gateways;
  gateways.takes_keys = false;
  SimulatedUsers users(some_users(), gateways, [](int64_t, const SimulationFigures&) {});
  ASSERT_TRUE(users.run());
  const SimulationFigures& figures = users.figures();
  EXPECT_FALSE(users.with_keys());
  EXPECT_GT(figures.unknown, 0);
  EXPECT_EQ(figures.accepted + figures.unknown, figures.sent);
  EXPECT_EQ(gateways.stored, static_cast<size_t>(figures.sent));
  EXPECT_EQ(total(users.words()) + total(users.unknown_words()), total(gateways.words));
  EXPECT_EQ(total(users.unknown_texts()), figures.unknown);
}

TEST(SimulatedUsers, what_is_refused_for_longer_than_their_patience_is_given_up_and_not_counted) {
  LossyGateways gateways;
  gateways.answer = 429;
  SimulationOptions options = some_users();
  options.patience = std::chrono::milliseconds(500);  // shorter than what the gateway asks for
  SimulatedUsers users(options, gateways, [](int64_t, const SimulationFigures&) {});
  ASSERT_TRUE(users.run());
  EXPECT_EQ(users.figures().given_up, users.figures().sent);
  EXPECT_TRUE(users.words().empty());
}

TEST(SimulatedUsers, an_answer_that_will_be_the_same_for_ever_ends_it) {
  LossyGateways gateways;
  gateways.answer = 401;
  SimulatedUsers users(some_users(), gateways, [](int64_t, const SimulationFigures&) {});
  const Status ended = users.run();
  ASSERT_FALSE(ended);
  EXPECT_THAT(ended.error().message, HasSubstr("answers 401: not so"));
}

TEST(SimulatedText, is_the_same_for_the_same_seed_and_user) {
  const auto texts = [](uint64_t seed, size_t user) {
    SimulatedText text(seed, user, "x", 5);
    std::vector<std::vector<std::string>> all;
    double seconds = 0;
    for (int i = 0; i < 1000; ++i) {
      seconds += text.pause();
      all.push_back(text.words());
    }
    EXPECT_NEAR(seconds, 200, 40);
    return all;
  };
  EXPECT_EQ(texts(1, 2), texts(1, 2));
  EXPECT_NE(texts(1, 2), texts(1, 3));
  EXPECT_NE(texts(1, 2), texts(2, 2));
  std::set<std::string> written;
  for (const auto& words : texts(1, 2)) written.insert(words.begin(), words.end());
  const auto vocabulary = SimulatedText::vocabulary("x");
  EXPECT_GT(written.size(), vocabulary.size() / 2);
  for (const std::string& word : written) EXPECT_THAT(vocabulary, testing::Contains(word));
}

}  // namespace
}  // namespace millrace::client
