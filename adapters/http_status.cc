#include "adapters/http_status.h"

#include <atomic>
#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>
#include <nlohmann/json.hpp>

#include "adapters/http_server.h"
#include "common/seams/http_routes.h"

namespace millrace {
namespace {

constexpr int kMaxWaiting = 64;
constexpr size_t kMaxConnections = 256;
constexpr auto kRequestTimeout = std::chrono::seconds(3);

}  // namespace

class HttpStatus::Server {
 public:
  explicit Server(HttpStatusOptions options) : options_(std::move(options)), pool_(options_.threads) {}

  ~Server() {
    server_.reset();
    pool_.stop();
    pool_.join();
  }

  Status start() {
    HttpRoutes routes;
    for (const HttpPage& page : options_.pages) {
      add(routes, page.path, [&page](const HttpRequest& request, const HttpRoutes::Arguments& arguments) {
        HttpPage::Answer answer = page.answer(arguments, request.query);
        return HttpResponse{.status = answer.code, .body = std::move(answer.json)};
      });
    }
    add(routes, "/health", [this](const auto&, const auto&) { return health(); });
    add(routes, "/status", [this](const auto&, const auto&) {
      return HttpResponse{.body = options_.status_json ? options_.status_json() : "{}"};
    });
    add(routes, "/metrics", [this](const auto&, const auto&) {
      return HttpResponse{.type = "text/plain; version=0.0.4",
                          .body = options_.metrics_text ? options_.metrics_text() : ""};
    });
    auto server = HttpServer::start({.address = options_.address,
                                     .max_connections = kMaxConnections,
                                     .max_body_bytes = 4096,
                                     .idle_timeout = kRequestTimeout,
                                     .request_timeout = kRequestTimeout,
                                     .response_timeout = kRequestTimeout},
                                    std::move(routes));
    if (!server) return std::unexpected(server.error());
    server_ = std::move(*server);
    return {};
  }

  [[nodiscard]] const HttpServer& server() const { return *server_; }

 private:
  // A page, which a thread of the pool makes: it may wait for the process' loop.
  template <typename Make>
  void add(HttpRoutes& routes, std::string_view path, Make make) {
    routes.add("GET", path, [this, make](HttpRequest request, HttpRoutes::Arguments arguments, HttpReply reply) {
      if (waiting_ >= kMaxWaiting) return reply(http_problem(503, "too many requests wait already; ask again later"));
      ++waiting_;
      boost::asio::post(pool_, [this, make, request = std::move(request), arguments = std::move(arguments),
                                reply = std::move(reply)]() mutable {
        --waiting_;
        reply(make(request, arguments));
      });
    });
  }

  HttpResponse health() {
    const std::string problem = options_.problem ? options_.problem() : "";
    nlohmann::json health = {{"status", problem.empty() ? "ok" : "failing"}, {"version", MILLRACE_VERSION}};
    if (!problem.empty()) health["problem"] = problem;
    return {.status = problem.empty() ? 200 : 503,
            .body = health.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n"};
  }

  const HttpStatusOptions options_;
  std::atomic<int> waiting_ = 0;
  boost::asio::thread_pool pool_;
  std::unique_ptr<HttpServer> server_;
};

HttpStatus::HttpStatus(std::unique_ptr<Server> server) : server_(std::move(server)) {}
HttpStatus::~HttpStatus() = default;

Result<std::unique_ptr<HttpStatus>> HttpStatus::start(HttpStatusOptions options) {
  auto server = std::make_unique<Server>(std::move(options));
  if (const Status started = server->start(); !started) return std::unexpected(started.error());
  return std::unique_ptr<HttpStatus>(new HttpStatus(std::move(server)));
}

uint16_t HttpStatus::port() const {
  return server_->server().port();
}
std::string HttpStatus::address() const {
  return server_->server().address();
}

}  // namespace millrace
