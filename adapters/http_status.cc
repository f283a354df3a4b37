#include "adapters/http_status.h"

#include <httplib.h>

#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <deque>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>
#include <vector>

#include "common/model/address.h"

namespace millrace {
namespace {

constexpr size_t kMaxWaiting = 64;

// httplib's own pool has no bound; here the accepting thread waits where too many connections are waiting.
class BoundedPool : public httplib::TaskQueue {
 public:
  explicit BoundedPool(int threads) {
    for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { work(); });
  }

  void enqueue(std::function<void()> task) override {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return tasks_.size() < kMaxWaiting || stopping_; });
    tasks_.push_back(std::move(task));
    changed_.notify_all();
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
      changed_.notify_all();
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

}  // namespace

class HttpStatus::Server {
 public:
  explicit Server(HttpStatusOptions options) : options_(std::move(options)) {}

  ~Server() {
    server_.stop();
    if (thread_.joinable()) thread_.join();
  }

  Status start() {
    const auto address = parse_address("--http", options_.address);
    if (!address) return std::unexpected(address.error());
    host_ = *address;
    server_.new_task_queue = [threads = options_.threads] { return new BoundedPool(threads); };
    server_.set_read_timeout(5);
    server_.set_write_timeout(5);
    server_.set_keep_alive_timeout(2);
    server_.set_keep_alive_max_count(20);
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
    return fail(ErrorCode::kUnavailable, "--http " + options_.address +
                                             ": cannot listen; end the process that holds the port, or choose another "
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
    server_.set_error_handler([](const httplib::Request&, httplib::Response& response) {
      if (!response.body.empty()) return;
      response.set_content("there is GET /health, /status and /metrics\n", "text/plain");
    });
  }

  const HttpStatusOptions options_;
  HostPort host_;
  httplib::Server server_;
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
