#include "gateway/rate_limits.h"

#include <algorithm>

#include "common/model/hash.h"

namespace millrace {
namespace {

constexpr double kBurstSeconds = 2;

}  // namespace

Duration RateLimits::fill(Bucket& bucket, double rate, MonotonicTime now) {
  const double most = std::max(1.0, rate * kBurstSeconds);
  const bool is_new = bucket.filled == MonotonicTime{};
  const double seconds = std::chrono::duration<double>(now - bucket.filled).count();
  bucket.tokens = is_new ? most : std::min(most, bucket.tokens + seconds * rate);
  bucket.filled = now;
  if (bucket.tokens >= 1) return {};
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double>((1 - bucket.tokens) / rate));
}

RateLimits::Bucket& RateLimits::bucket_of(std::string_view user) {
  const uint64_t name = hash_of(user);
  if (const auto found = by_name_.find(name); found != by_name_.end()) {
    users_.splice(users_.begin(), users_, found->second);
    return users_.front().bucket;
  }
  if (users_.size() >= options_.most_users) {
    by_name_.erase(users_.back().name);
    users_.pop_back();
  }
  users_.push_front({.name = name, .bucket = {}});
  by_name_.emplace(name, users_.begin());
  return users_.front().bucket;
}

// What is refused by one limit does not count for the other.
RateLimits::Answer RateLimits::take(std::string_view user, MonotonicTime now) {
  if (options_.total_rate > 0) {
    if (const Duration wait = fill(total_, options_.total_rate, now); wait > Duration::zero()) {
      return {Limit::kTotal, wait};
    }
  }
  if (options_.user_rate > 0) {
    Bucket& bucket = bucket_of(user);
    if (const Duration wait = fill(bucket, options_.user_rate, now); wait > Duration::zero()) {
      return {Limit::kUser, wait};
    }
    bucket.tokens -= 1;
  }
  if (options_.total_rate > 0) total_.tokens -= 1;
  return {};
}

}  // namespace millrace
