#include "tests/conformance/redis_server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <hiredis/hiredis.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <memory>

#include "common/base/check.h"

namespace millrace {
namespace {

int free_port() {
  const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  CHECK(::bind(socket, reinterpret_cast<sockaddr*>(&address), size) == 0);
  CHECK(::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size) == 0);
  ::close(socket);
  return ntohs(address.sin_port);
}

using Context = std::unique_ptr<redisContext, decltype(&redisFree)>;
using Reply = std::unique_ptr<redisReply, decltype(&freeReplyObject)>;

Context connect(int port) {
  return Context(redisConnectWithTimeout("127.0.0.1", port, {1, 0}), &redisFree);
}

void flatten(const redisReply& reply, std::vector<std::string>& out) {
  for (size_t index = 0; index < reply.elements; ++index) flatten(*reply.element[index], out);
  if (reply.type == REDIS_REPLY_INTEGER) out.push_back(std::to_string(reply.integer));
  if (reply.str != nullptr) out.emplace_back(reply.str, static_cast<size_t>(reply.len));
}

}  // namespace

RedisServer::RedisServer(std::vector<std::string> arguments) : arguments_(std::move(arguments)) {
  for (int attempt = 0; attempt < 5 && process_ == 0; ++attempt) {  // another program may take the port in between
    port_ = free_port();
    if (!try_start()) kill();
  }
  CHECK(process_ != 0) << "redis-server does not start; is it installed?";
}

RedisServer::~RedisServer() {
  kill();
}

void RedisServer::start() {
  CHECK(try_start()) << "redis-server does not start again on port " << port_;
}

bool RedisServer::try_start() {
  std::vector<std::string> words = {"redis-server",   "--port", std::to_string(port_), "--bind", "127.0.0.1",
                                    "--save",         "",       "--appendonly",        "no",     "--dir",
                                    directory_.path()};
  words.insert(words.end(), arguments_.begin(), arguments_.end());
  std::vector<char*> raw;
  for (std::string& word : words) raw.push_back(word.data());
  raw.push_back(nullptr);
  process_ = ::fork();
  CHECK(process_ >= 0);
  if (process_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    const int log = ::open((directory_.path() + "/log").c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
    ::dup2(log, STDOUT_FILENO);
    ::dup2(log, STDERR_FILENO);
    ::execvp(raw[0], raw.data());
    ::_exit(127);
  }
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (std::chrono::steady_clock::now() < deadline) {
    if (::waitpid(process_, nullptr, WNOHANG) == process_) {
      process_ = 0;
      return false;
    }
    if (const Context context = connect(port_); context != nullptr && context->err == 0) return true;
    ::poll(nullptr, 0, 5);
  }
  return false;
}

void RedisServer::kill() {
  if (process_ == 0) return;
  ::kill(process_, SIGKILL);
  ::waitpid(process_, nullptr, 0);
  process_ = 0;
}

void RedisServer::freeze() {
  ::kill(process_, SIGSTOP);
}
void RedisServer::unfreeze() {
  ::kill(process_, SIGCONT);
}

std::vector<std::string> RedisServer::command(const std::vector<std::string>& arguments) {
  const Context context = connect(port_);
  CHECK(context != nullptr && context->err == 0) << "no connection to the redis-server of this test";
  if (!password_.empty())
    Reply(static_cast<redisReply*>(redisCommand(context.get(), "AUTH %s", password_.c_str())), &freeReplyObject);
  std::vector<const char*> words;
  std::vector<size_t> sizes;
  for (const std::string& argument : arguments) {
    words.push_back(argument.data());
    sizes.push_back(argument.size());
  }
  const Reply reply(static_cast<redisReply*>(
                        redisCommandArgv(context.get(), static_cast<int>(words.size()), words.data(), sizes.data())),
                    &freeReplyObject);
  std::vector<std::string> out;
  if (reply == nullptr || reply->type == REDIS_REPLY_ERROR) {
    ADD_FAILURE() << arguments[0] << ": " << (reply == nullptr ? "connection broke" : reply->str);
    return out;
  }
  flatten(*reply, out);
  return out;
}

std::map<std::string, std::string> RedisServer::hash(const std::string& key) {
  const std::vector<std::string> flat = command({"HGETALL", key});
  std::map<std::string, std::string> pairs;
  for (size_t index = 0; index + 1 < flat.size(); index += 2) pairs[flat[index]] = flat[index + 1];
  return pairs;
}

std::map<std::string, double> RedisServer::sorted_set(const std::string& key) {
  const std::vector<std::string> flat = command({"ZRANGE", key, "0", "-1", "WITHSCORES"});
  std::map<std::string, double> pairs;
  for (size_t index = 0; index + 1 < flat.size(); index += 2) pairs[flat[index]] = std::stod(flat[index + 1]);
  return pairs;
}

std::set<std::string> RedisServer::keys() {
  const std::vector<std::string> flat = command({"KEYS", "*"});
  return {flat.begin(), flat.end()};
}

}  // namespace millrace
