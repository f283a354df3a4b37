// RedisConnection: one blocking connection to a Redis server that is made anew by itself, with back-off, and says in
// words for people what is wrong. Owned and used by one thread, except interrupt().
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/error.h"

struct redisContext;
struct redisReply;

namespace millrace {

struct RedisAddress {
  std::string host;
  int port = 6379;
  std::string user;      // empty: the default user
  std::string password;  // empty: none; never printed
  int database = 0;

  [[nodiscard]] std::string place() const { return host + ":" + std::to_string(port); }
};

// Of redis://[USER[:PASSWORD]@]HOST[:PORT][/DB] and of `username` and `password` in `config`, each in one place only.
// kInvalid says what is wrong with it, without the password.
Result<RedisAddress> parse_redis_uri(const std::string& uri, const std::map<std::string, std::string>& config);

struct RedisReplyDeleter {
  void operator()(redisReply* reply) const;
};
using RedisReply = std::unique_ptr<redisReply, RedisReplyDeleter>;  // never an error reply

struct RedisTimeouts {
  std::chrono::milliseconds connect{1000};
  std::chrono::milliseconds answer{5000};
  std::chrono::milliseconds reconnect_first{20};  // doubles up to reconnect_most
  std::chrono::milliseconds reconnect_most{1000};
};

class RedisConnection {
 public:
  // `scripts` are loaded on each new connection.
  RedisConnection(RedisAddress address, RedisTimeouts timeouts, std::vector<std::string> scripts);
  ~RedisConnection();
  RedisConnection(const RedisConnection&) = delete;
  RedisConnection& operator=(const RedisConnection&) = delete;

  // Connects if it is not connected and the back-off has passed; else repeats why it is not. Errors as call().
  Status ensure();
  [[nodiscard]] bool connected() const { return context_ != nullptr; }

  // The name by which EVALSHA calls a script, as of this connection.
  [[nodiscard]] const std::string& script(size_t index) const { return script_names_[index]; }

  // Queues a command; answers come by receive(), in order. Needs a connection.
  void append(std::span<const std::string_view> arguments);
  // Sends what is queued and waits for the next answer. kUnavailable: the connection broke (it is then gone), or
  // Redis cannot serve now; kInvalid: password, type or permission; kNotFound: a script is not loaded (any more).
  Result<RedisReply> receive();
  Result<RedisReply> call(std::span<const std::string_view> arguments);

  // Drops the connection; the next ensure() makes a new one at once.
  void drop();
  // Thread-safe: ends a wait within receive() with an error.
  void interrupt();

 private:
  Status connect();
  Status log_in();
  Status load_scripts();
  [[nodiscard]] Error describe_failure() const;
  [[nodiscard]] Error describe_error_reply(std::string_view text) const;

  // Constant after construction.
  const RedisAddress address_;
  const RedisTimeouts timeouts_;
  const std::vector<std::string> scripts_;

  std::mutex mutex_;  // held where the context is made and released, and by interrupt()
  redisContext* context_ = nullptr;
  bool interrupted_ = false;  // guarded by mutex_
  std::vector<std::string> script_names_;
  Error last_error_;
  std::chrono::milliseconds backoff_{0};
  std::chrono::steady_clock::time_point next_attempt_;
};

}  // namespace millrace
