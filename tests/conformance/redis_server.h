// RedisServer: a real redis-server of one test, on a free port of the loopback address, without persistence.
#pragma once

#include <sys/types.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "tests/conformance/temporary_directory.h"

namespace millrace {

class RedisServer {
 public:
  explicit RedisServer(std::vector<std::string> arguments = {});
  ~RedisServer();
  RedisServer(const RedisServer&) = delete;
  RedisServer& operator=(const RedisServer&) = delete;

  [[nodiscard]] int port() const { return port_; }
  [[nodiscard]] std::string uri(const std::string& login = "") const {
    return "redis://" + login + "127.0.0.1:" + std::to_string(port_);
  }

  void kill();    // SIGKILL, and waits for its end
  void start();   // on the same port, empty
  void freeze();  // SIGSTOP
  void unfreeze();

  // What a client of its own sees. An error reply fails the test.
  std::vector<std::string> command(const std::vector<std::string>& arguments);  // one reply, flattened
  std::map<std::string, std::string> hash(const std::string& key);
  std::map<std::string, double> sorted_set(const std::string& key);
  std::set<std::string> keys();

  void set_password(const std::string& password) { password_ = password; }  // of this object's own client

 private:
  bool try_start();

  TemporaryDirectory directory_;
  const std::vector<std::string> arguments_;
  std::string password_;
  int port_ = 0;
  pid_t process_ = 0;
};

}  // namespace millrace
