#include "adapters/redis_connection.h"

#include <hiredis/hiredis.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <utility>

#include "common/base/check.h"
#include "common/model/uri.h"

namespace millrace {
namespace {

timeval to_timeval(std::chrono::milliseconds duration) {
  return {static_cast<time_t>(duration.count() / 1000), static_cast<suseconds_t>(duration.count() % 1000 * 1000)};
}

bool parse_number(const std::string& text, int least, int most, int& out) {
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), out);
  return problem == std::errc() && end == text.data() + text.size() && out >= least && out <= most;
}

bool mentions(std::string_view text, std::initializer_list<std::string_view> words) {
  return std::any_of(words.begin(), words.end(),
                     [&](std::string_view word) { return text.find(word) != std::string_view::npos; });
}

// What Redis says when it does not do a command, by a word of it, and what helps. What is unavailable passes by itself
// or by what somebody does to Redis; what is invalid is in the job's --sink or name.
struct Complaint {
  std::string_view word;
  ErrorCode code;
  const char* remedy;
};
constexpr char kLogin[] = "correct USER:PASSWORD in --sink, or --sink-config";
constexpr char kReplica[] = "name the primary in --sink, or make this one the primary (REPLICAOF NO ONE)";
constexpr char kWait[] = "wait until it is ready, or see its log";
constexpr Complaint kComplaints[] = {
    {"NOAUTH", ErrorCode::kInvalid, kLogin},
    {"WRONGPASS", ErrorCode::kInvalid, kLogin},
    {"invalid password", ErrorCode::kInvalid, kLogin},
    {"AUTH <password>", ErrorCode::kInvalid, kLogin},
    {"ERR AUTH", ErrorCode::kInvalid, kLogin},
    {"NOPERM", ErrorCode::kInvalid,
     "let the user of --sink run scripts and read and write the keys {NAME}:* (ACL SETUSER)"},
    {"WRONGTYPE", ErrorCode::kInvalid,
     "a key {NAME}:* of this job's name has another type: remove it or choose another name"},
    {"LOADING", ErrorCode::kUnavailable, kWait},
    {"READONLY", ErrorCode::kUnavailable, kReplica},
    {"OOM", ErrorCode::kUnavailable, "raise its maxmemory or remove other keys"},
    {"MISCONF", ErrorCode::kUnavailable, "mend what keeps it from saving (disk full?), its log says what"},
    {"BUSY", ErrorCode::kUnavailable, "somebody's script runs too long: wait, or SCRIPT KILL"},
    {"MASTERDOWN", ErrorCode::kUnavailable, kReplica},
    {"CLUSTERDOWN", ErrorCode::kUnavailable, kWait},
    {"NOREPLICAS", ErrorCode::kUnavailable, "start its replicas or lower min-replicas-to-write"},
    {"TRYAGAIN", ErrorCode::kUnavailable, kWait},
    {"max number of clients", ErrorCode::kUnavailable, "raise its maxclients or close other connections"},
};

}  // namespace

Result<RedisAddress> parse_redis_uri(const std::string& text, const std::map<std::string, std::string>& config) {
  const Result<Uri> uri = parse_uri(text);
  if (!uri) return std::unexpected(uri.error());
  const auto wrong = [&](const std::string& what) {
    return fail(ErrorCode::kInvalid,
                what + " in " + uri->masked() + "; expected redis://[USER[:PASSWORD]@]HOST[:PORT][/DB]");
  };
  if (uri->scheme != "redis") return wrong("'" + uri->scheme + "' is not redis");
  RedisAddress address;
  address.user = uri->user;
  address.password = uri->password;
  for (const auto& [name, value] : config) {
    if (name != "username" && name != "password") {
      return fail(ErrorCode::kInvalid,
                  "a Redis sink has no setting '" + name + "', only username and password; correct --sink-config");
    }
    std::string& place = name == "username" ? address.user : address.password;
    if (!place.empty()) {
      return fail(ErrorCode::kInvalid,
                  "both " + uri->masked() + " and --sink-config give a " + name + "; take it out of --sink");
    }
    place = value;
  }
  if (!address.user.empty() && address.password.empty()) {
    return wrong("a user without a password (for a password alone write redis://:PASSWORD@HOST, or use --sink-config)");
  }
  address.host = uri->authority;
  const size_t colon = address.host.rfind(':');
  const bool bracket = address.host.ends_with(']');
  if (colon != std::string::npos && !bracket) {
    if (!parse_number(address.host.substr(colon + 1), 1, 65535, address.port)) return wrong("no valid port");
    address.host.resize(colon);
  }
  if (address.host.starts_with('[') && address.host.ends_with(']')) {
    address.host = address.host.substr(1, address.host.size() - 2);
  }
  if (address.host.empty()) return wrong("no host");
  if (!uri->path.empty() && !parse_number(uri->path, 0, 1'000'000, address.database)) {
    return wrong("no valid number of a database");
  }
  if (!uri->options.empty()) return wrong("an option '" + uri->options.begin()->first + "' that there is not");
  return address;
}

void RedisReplyDeleter::operator()(redisReply* reply) const {
  freeReplyObject(reply);
}

RedisConnection::RedisConnection(RedisAddress address, RedisTimeouts timeouts, std::vector<std::string> scripts)
    : address_(std::move(address)), timeouts_(timeouts), scripts_(std::move(scripts)) {}

RedisConnection::~RedisConnection() {
  drop();
}

Status RedisConnection::ensure() {
  if (context_ != nullptr) return {};
  const auto now = std::chrono::steady_clock::now();
  if (now < next_attempt_) return std::unexpected(last_error_);
  const Status connected = connect();
  if (connected) {
    backoff_ = std::chrono::milliseconds(0);
    next_attempt_ = {};
    return {};
  }
  last_error_ = connected.error();
  drop();
  backoff_ = std::clamp(backoff_ * 2, timeouts_.reconnect_first, timeouts_.reconnect_most);
  next_attempt_ = std::chrono::steady_clock::now() + backoff_;
  return connected;
}

Status RedisConnection::connect() {
  redisContext* made = redisConnectWithTimeout(address_.host.c_str(), address_.port, to_timeval(timeouts_.connect));
  if (made == nullptr) return fail(ErrorCode::kInternal, "out of memory for a connection to Redis");
  {
    const std::lock_guard lock(mutex_);
    context_ = made;
    if (interrupted_) return fail(ErrorCode::kUnavailable, "the sink is being closed");
  }
  if (context_->err != 0) return std::unexpected(describe_failure());
  redisSetTimeout(context_, to_timeval(timeouts_.answer));
  redisEnableKeepAlive(context_);
  if (auto logged_in = log_in(); !logged_in) return logged_in;
  return load_scripts();
}

Status RedisConnection::log_in() {
  if (!address_.password.empty()) {
    std::vector<std::string_view> command = {"AUTH"};
    if (!address_.user.empty()) command.push_back(address_.user);
    command.push_back(address_.password);
    if (auto reply = call(command); !reply) return std::unexpected(reply.error());
  }
  if (address_.database != 0) {
    const std::string database = std::to_string(address_.database);
    if (auto reply = call(std::array<std::string_view, 2>{"SELECT", database}); !reply) {
      if (reply.error().code != ErrorCode::kInternal) return std::unexpected(reply.error());
      return fail(ErrorCode::kInvalid,
                  "Redis at " + address_.place() + " has no database " + database + "; correct the number in --sink");
    }
  }
  return {};
}

Status RedisConnection::load_scripts() {
  script_names_.clear();
  for (const std::string& script : scripts_) append(std::array<std::string_view, 3>{"SCRIPT", "LOAD", script});
  for (size_t index = 0; index < scripts_.size(); ++index) {
    Result<RedisReply> reply = receive();
    if (!reply) return std::unexpected(reply.error());
    script_names_.emplace_back((*reply)->str, (*reply)->len);
  }
  return {};
}

void RedisConnection::append(std::span<const std::string_view> arguments) {
  CHECK(context_ != nullptr);
  std::vector<const char*> pointers;
  std::vector<size_t> sizes;
  pointers.reserve(arguments.size());
  sizes.reserve(arguments.size());
  for (const std::string_view argument : arguments) {
    pointers.push_back(argument.data() == nullptr ? "" : argument.data());
    sizes.push_back(argument.size());
  }
  redisAppendCommandArgv(context_, static_cast<int>(pointers.size()), pointers.data(), sizes.data());
}

Result<RedisReply> RedisConnection::receive() {
  if (context_ == nullptr) return std::unexpected(last_error_);
  void* raw = nullptr;
  if (redisGetReply(context_, &raw) != REDIS_OK || raw == nullptr) {
    last_error_ = describe_failure();
    drop();
    return std::unexpected(last_error_);
  }
  RedisReply reply(static_cast<redisReply*>(raw));
  if (reply->type == REDIS_REPLY_ERROR) {
    return std::unexpected(describe_error_reply({reply->str, static_cast<size_t>(reply->len)}));
  }
  return reply;
}

Result<RedisReply> RedisConnection::call(std::span<const std::string_view> arguments) {
  append(arguments);
  return receive();
}

void RedisConnection::drop() {
  const std::lock_guard lock(mutex_);
  if (context_ != nullptr) redisFree(context_);
  context_ = nullptr;
}

void RedisConnection::interrupt() {
  const std::lock_guard lock(mutex_);
  interrupted_ = true;
  if (context_ != nullptr && context_->fd >= 0) ::shutdown(context_->fd, SHUT_RDWR);
}

Error RedisConnection::describe_failure() const {
  const std::string place = "Redis at " + address_.place();
  const bool io = context_->err == REDIS_ERR_IO;
  if (io && errno == ECONNREFUSED) {
    return {ErrorCode::kUnavailable, place + " refuses connections; start it or correct --sink"};
  }
  if (io && (errno == EAGAIN || errno == ETIMEDOUT)) {
    return {ErrorCode::kUnavailable, place + " does not answer in time; check that it runs and can be reached"};
  }
  if (context_->err == REDIS_ERR_PROTOCOL) {
    return {ErrorCode::kUnavailable, place + " answers, but not as Redis does; correct --sink"};
  }
  return {ErrorCode::kUnavailable, place + " cannot be reached: " + context_->errstr + "; start it or correct --sink"};
}

Error RedisConnection::describe_error_reply(std::string_view text) const {
  text = text.substr(0, text.find(" script: "));  // where in our script: nothing for people
  text = text.substr(0, text.find(". "));
  if (text.ends_with('.')) text.remove_suffix(1);
  const std::string place = "Redis at " + address_.place();
  const std::string said = place + " says: " + std::string(text.substr(0, 200));
  if (mentions(text, {"NOSCRIPT"})) return {ErrorCode::kNotFound, said};
  for (const Complaint& complaint : kComplaints) {
    if (text.find(complaint.word) != std::string_view::npos) return {complaint.code, said + "; " + complaint.remedy};
  }
  if (text.starts_with("MOVED") || text.starts_with("ASK") || text.starts_with("CROSSSLOT")) {
    return {ErrorCode::kInvalid, said + "; name the node of the cluster that holds the keys in --sink"};
  }
  return {ErrorCode::kInternal, said};
}

}  // namespace millrace
