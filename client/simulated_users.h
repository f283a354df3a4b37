// SimulatedUsers: users who send texts to gateways, each over a connection of its own and at times that do not depend
// on the answers (an open loop): what is late because an earlier text had not been answered is late by that, too.
//
// A text is sent again, at the next gateway, until it is answered or its patience is over: after 429 and 503, which
// store nothing, when they say; after a lost answer, or 504, only with an Idempotency-Key, since it may be stored.
// A log that refuses such keys (Kafka) is found out by the first 400, and then none is used.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "client/simulated_text.h"
#include "common/base/error.h"
#include "common/model/address.h"
#include "common/seams/http_caller.h"

namespace millrace::client {

struct SimulationOptions {
  std::vector<HostPort> gateways;
  HttpHeaders headers;  // of each request: the API key
  size_t users = 200;
  double rate = 5;  // texts a second of each user, on average
  Duration duration = std::chrono::seconds(30);
  Duration patience = std::chrono::seconds(30);  // for a text to be answered, from its first sending
  uint64_t seed = 1;
  std::string salt;      // the end of each word and of each user's id
  std::string key_base;  // of the Idempotency-Keys: of this run alone
};

// What a second, or the whole run, has brought.
struct SimulationFigures {
  int64_t sent = 0;               // texts, whose first try it was
  int64_t accepted = 0;           // answered as durable
  int64_t refused = 0;            // tries answered 429 or 503
  int64_t errors = 0;             // tries without a connection, or whose answer was lost or 504
  int64_t given_up = 0;           // texts, of which nothing is stored
  int64_t unknown = 0;            // texts that may be stored or not
  std::vector<float> latency_ms;  // of the accepted, from the time when they were to be sent

  void add(const SimulationFigures& other);
  // Of latency_ms, which it sorts; 0 where there is none.
  double quantile(double share);
};

class SimulatedUsers {
 public:
  using Counts = std::map<std::string, int64_t>;  // by word, or by user
  using EachSecond = std::function<void(int64_t second, SimulationFigures figures)>;

  // `caller` outlives it.
  SimulatedUsers(SimulationOptions options, HttpCaller& caller, EachSecond each_second);
  ~SimulatedUsers();

  // Until each text is answered or given up. An answer that says that nothing will ever be taken (4xx) ends it:
  // kInvalid.
  Status run();

  // After run(): of the accepted texts, and of those of which nobody knows.
  [[nodiscard]] const Counts& words() const { return words_; }
  [[nodiscard]] const Counts& texts() const { return texts_; }  // by user
  [[nodiscard]] const Counts& unknown_words() const { return unknown_words_; }
  [[nodiscard]] const Counts& unknown_texts() const { return unknown_texts_; }
  [[nodiscard]] const SimulationFigures& figures() const { return all_; }
  [[nodiscard]] bool with_keys() const { return with_keys_; }

 private:
  class User;
  friend class User;

  void tell_each_second();

  const SimulationOptions options_;
  HttpCaller& caller_;
  const EachSecond each_second_;

  std::vector<std::unique_ptr<User>> users_;
  std::chrono::steady_clock::time_point begin_;
  bool with_keys_ = true;
  Status outcome_;
  size_t at_work_ = 0;  // users who have something to send, now or later
  int64_t second_ = 0;
  SimulationFigures now_, all_;
  Counts words_, texts_, unknown_words_, unknown_texts_;
};

}  // namespace millrace::client
