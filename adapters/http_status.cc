#include "adapters/http_status.h"

#include <httplib.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <deque>
#include <iterator>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>
#include <vector>

#include "common/model/address.h"

namespace millrace {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr size_t kMaxWaiting = 64;
constexpr auto kTimeOfRequest = std::chrono::seconds(3);  // to arrive and to be answered
constexpr int kStopStepMs = 100;                          // how often a waiting request looks whether the server stops

// True on a thread while a connection that it takes over is only to be closed.
thread_local bool refusing = false;

// httplib's own pool has no bound; here a connection beyond the bound is closed at once.
class BoundedPool : public httplib::TaskQueue {
 public:
  explicit BoundedPool(int threads) {
    for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { work(); });
  }

  void enqueue(std::function<void()> task) override {
    {
      const std::lock_guard lock(mutex_);
      if (tasks_.size() < kMaxWaiting && !stopping_) {
        tasks_.push_back(std::move(task));
        changed_.notify_all();
        return;
      }
    }
    refusing = true;
    task();
    refusing = false;
  }

  void shutdown() override {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
      changed_.notify_all();
    }
    for (std::thread& thread : threads_) thread.join();
  }

 private:
  void work() {
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock, [this] { return !tasks_.empty() || stopping_; });
      if (tasks_.empty()) return;
      auto task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> tasks_;  // guarded by mutex_
  bool stopping_ = false;                    // guarded by mutex_
  std::vector<std::thread> threads_;
};

// A connection with one deadline for all that is read and written: httplib's own time-outs begin anew at each byte, so
// that a few slow clients would hold all threads.
class DeadlineStream final : public httplib::Stream {
 public:
  DeadlineStream(socket_t socket, const std::atomic<bool>& stopping) : socket_(socket), stopping_(stopping) {}

  [[nodiscard]] bool is_readable() const override { return wait_for(POLLIN); }
  [[nodiscard]] bool is_writable() const override { return wait_for(POLLOUT); }
  ssize_t read(char* bytes, size_t size) override {
    return is_readable() ? ::recv(socket_, bytes, size, MSG_DONTWAIT) : -1;
  }
  ssize_t write(const char* bytes, size_t size) override {
    return is_writable() ? ::send(socket_, bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL) : -1;
  }
  // Nobody asks for the addresses.
  void get_remote_ip_and_port(std::string& ip, int& port) const override { no_address(ip, port); }
  void get_local_ip_and_port(std::string& ip, int& port) const override { no_address(ip, port); }
  [[nodiscard]] socket_t socket() const override { return socket_; }

 private:
  static void no_address(std::string& ip, int& port) {
    ip.clear();
    port = 0;
  }
  [[nodiscard]] bool wait_for(int16_t event) const {
    while (!stopping_) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline_ - SteadyClock::now()).count();
      if (left <= 0) return false;
      pollfd waited = {socket_, event, 0};
      const int ready = ::poll(&waited, 1, static_cast<int>(std::min<int64_t>(left, kStopStepMs)));
      if (ready > 0) return true;
      if (ready < 0 && errno != EINTR) return false;
    }
    return false;
  }

  const socket_t socket_;
  const std::atomic<bool>& stopping_;
  const SteadyClock::time_point deadline_ = SteadyClock::now() + kTimeOfRequest;
};

class BoundedServer final : public httplib::Server {
 public:
  // Ends the requests that are under way.
  void end() {
    stopping_ = true;
    stop();
  }

 private:
  bool process_and_close_socket(socket_t socket) override {
    bool served = false;
    if (!refusing && !stopping_) {
      DeadlineStream stream(socket, stopping_);
      bool closed = false;
      served = process_request(stream, /*close_connection=*/true, closed, nullptr);
    }
    ::shutdown(socket, SHUT_RDWR);
    ::close(socket);
    return served;
  }

  std::atomic<bool> stopping_ = false;
};

}  // namespace

class HttpStatus::Server {
 public:
  explicit Server(HttpStatusOptions options) : options_(std::move(options)) {}

  ~Server() {
    server_.end();
    if (thread_.joinable()) thread_.join();
  }

  Status start() {
    const auto address = parse_address("--http", options_.address);
    if (!address) return std::unexpected(address.error());
    host_ = *address;
    server_.new_task_queue = [threads = options_.threads] { return new BoundedPool(threads); };
    server_.set_payload_max_length(4096);
    // Not httplib's default, which shares the port with whoever else listens on it.
    server_.set_socket_options([](socket_t socket) {
      const int yes = 1;
      setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    });
    route();
    if (host_.port == 0) {
      const int port = server_.bind_to_any_port(host_.host);
      if (port <= 0) return cannot_listen();
      host_.port = static_cast<uint16_t>(port);
    } else if (!server_.bind_to_port(host_.host, host_.port)) {
      return cannot_listen();
    }
    thread_ = std::thread([this] {
      server_.listen_after_bind();
      ended_ = true;
    });
    // stop() of a server that does not run yet would be lost.
    while (!server_.is_running() && !ended_) std::this_thread::yield();
    return {};
  }

  [[nodiscard]] const HostPort& address() const { return host_; }

 private:
  [[nodiscard]] Status cannot_listen() const {
    return fail(ErrorCode::kUnavailable, "--http " + options_.address + ": cannot listen (" + std::strerror(errno) +
                                             "); end the process that holds the port, or choose another "
                                             "address of this machine");
  }

  void route() {
    server_.Get("/health", [this](const httplib::Request&, httplib::Response& response) {
      const std::string problem = options_.problem ? options_.problem() : "";
      nlohmann::json health = {{"status", problem.empty() ? "ok" : "failing"}, {"version", MILLRACE_VERSION}};
      if (!problem.empty()) {
        health["problem"] = problem;
        response.status = 503;
      }
      response.set_content(health.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n",
                           "application/json");
    });
    server_.Get("/status", [this](const httplib::Request&, httplib::Response& response) {
      response.set_content(options_.status_json ? options_.status_json() : "{}", "application/json");
    });
    server_.Get("/metrics", [this](const httplib::Request&, httplib::Response& response) {
      response.set_content(options_.metrics_text ? options_.metrics_text() : "", "text/plain; version=0.0.4");
    });
    std::string known = "/health, /status and /metrics";
    for (const HttpPage& page : options_.pages) {
      known.insert(0, page.shown + ", ");
      server_.Get(page.path, [&page](const httplib::Request& request, httplib::Response& response) {
        const HttpPage::Answer answer = page.answer({std::next(request.matches.begin()), request.matches.end()},
                                                    {request.params.begin(), request.params.end()});
        response.status = answer.code;
        response.set_content(answer.json, "application/json");
      });
    }
    server_.set_error_handler([known](const httplib::Request&, httplib::Response& response) {
      if (!response.body.empty()) return;
      response.set_content("there is GET " + known + "\n", "text/plain");
    });
  }

  const HttpStatusOptions options_;
  HostPort host_;
  BoundedServer server_;
  std::atomic<bool> ended_ = false;
  std::thread thread_;
};

HttpStatus::HttpStatus(std::unique_ptr<Server> server) : server_(std::move(server)) {}
HttpStatus::~HttpStatus() = default;

Result<std::unique_ptr<HttpStatus>> HttpStatus::start(HttpStatusOptions options) {
  auto server = std::make_unique<Server>(std::move(options));
  if (const Status started = server->start(); !started) return std::unexpected(started.error());
  return std::unique_ptr<HttpStatus>(new HttpStatus(std::move(server)));
}

uint16_t HttpStatus::port() const {
  return server_->address().port;
}
std::string HttpStatus::address() const {
  return server_->address().text();
}

std::string metric(const std::string& name, const std::string& type, const std::string& help, double value) {
  char number[64];
  std::snprintf(number, sizeof(number), "%.17g", value);
  return "# HELP " + name + " " + help + "\n# TYPE " + name + " " + type + "\n" + name + " " + number + "\n";
}

}  // namespace millrace
