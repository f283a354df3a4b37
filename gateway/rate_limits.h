// RateLimits: how many requests a second are taken, of each user and of all together. A bucket of tokens each, which
// holds two seconds' worth, so that a burst passes and a lasting excess does not.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <string_view>
#include <unordered_map>

#include "common/base/time.h"

namespace millrace {

struct RateLimitOptions {
  double user_rate = 0;  // requests a second; 0: any number
  double total_rate = 0;
  size_t most_users = 100'000;  // are remembered; of those the one that has been silent longest is forgotten first
};

// Belongs to one thread.
class RateLimits {
 public:
  explicit RateLimits(RateLimitOptions options) : options_(options) {}

  enum class Limit { kNone, kUser, kTotal };
  struct Answer {
    Limit limit = Limit::kNone;  // that a request exceeds; kNone: it may go, and was counted
    Duration wait{};             // until it may
  };
  Answer take(std::string_view user, MonotonicTime now);

  [[nodiscard]] size_t users() const { return users_.size(); }

 private:
  struct Bucket {
    double tokens = 0;
    MonotonicTime filled;  // as of then; the epoch: it is a new one, and full
  };
  struct User {
    uint64_t name;  // a hash of it: names may be long
    Bucket bucket;
  };

  Bucket& bucket_of(std::string_view user);
  // Until it holds one token, with what has come into it by now.
  static Duration fill(Bucket& bucket, double rate, MonotonicTime now);

  const RateLimitOptions options_;
  Bucket total_;
  std::list<User> users_;  // the newest first
  std::unordered_map<uint64_t, std::list<User>::iterator> by_name_;
};

}  // namespace millrace
