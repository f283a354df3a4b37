// SimulationCheck: whether a job has counted exactly what simulated users have sent: what it counts more at the end
// than at the begin, key by key, asked of gateways.
//
// Both times everything that its log held at that moment is waited for. So whoever else sends the same words meanwhile
// disturbs it; a salt of the words, or a job of one's own, helps.
#pragma once

#include <functional>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "client/simulated_users.h"
#include "common/base/error.h"
#include "common/seams/http_caller.h"

namespace millrace::client {

class SimulationCheck {
 public:
  using Counts = SimulatedUsers::Counts;

  // A key whose count has not grown by what was sent. It was sent from `least` to `most` times: they differ by texts of
  // which nobody knows.
  struct Difference {
    std::string key;
    int64_t least = 0, most = 0, counted = 0;
  };

  // `caller` outlives it; nothing else runs on it while this asks.
  SimulationCheck(const SimulationOptions& options, std::string job, HttpCaller& caller);

  // What the job counts now. kInvalid: it counts neither words nor users. `wait`: for gateways that do not answer yet.
  Status begin(Duration wait);
  // Those that are not right.
  Result<std::vector<Difference>> end(const SimulatedUsers& users);

  [[nodiscard]] bool of_users() const { return of_users_; }

 private:
  Result<nlohmann::json> ask(const std::string& target, Duration wait);
  Result<int64_t> wait_for_log();
  Result<Counts> counts();
  void pause();

  const SimulationOptions& options_;
  const std::string job_;
  HttpCaller& caller_;
  size_t gateway_ = 0;  // which is asked
  bool of_users_ = false;
  std::vector<std::string> keys_;
  Counts before_;
};

}  // namespace millrace::client
