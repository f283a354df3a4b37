#include "adapters/asio_http_caller.h"

#include <boost/asio.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <map>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "common/base/check.h"

namespace millrace {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using asio::ip::tcp;
using boost::system::error_code;

constexpr size_t kMostAnswerBytes = 16u << 20;

}  // namespace

class AsioHttpCaller::Loop {
 public:
  void call(HttpCall call, Answered answered);
  void schedule(Duration delay, Task task) {
    auto timer = std::make_shared<asio::steady_timer>(io_, delay);
    timer->async_wait([timer, task = std::move(task)](error_code) mutable { task(); });
  }
  void run() {
    io_.restart();
    io_.run();
  }
  void stop() { io_.stop(); }

 private:
  class Line;
  using Endpoints = tcp::resolver::results_type;

  // None: the name cannot be looked up, for which the message says why.
  const Endpoints* endpoints_of(const HostPort& server, std::string& problem) {
    const auto known = endpoints_.find(server.text());
    if (known != endpoints_.end()) return &known->second;
    error_code error;
    const Endpoints found = tcp::resolver(io_).resolve(server.host, std::to_string(server.port), error);
    if (!error) return &endpoints_.emplace(server.text(), found).first->second;
    problem = error.message();
    return nullptr;
  }

  asio::io_context io_{1};
  std::map<std::string, Endpoints> endpoints_;  // by server
  std::unordered_map<size_t, std::unique_ptr<Line>> lines_;
};

// One connection, and the call that is under way on it.
class AsioHttpCaller::Loop::Line {
 public:
  explicit Line(Loop& loop) : loop_(loop) {}

  void call(HttpCall call, Answered answered) {
    CHECK(!answered_) << "a line has one call at a time";
    answered_ = std::move(answered);
    request_ = http::request<http::string_body>(http::string_to_verb(call.method), call.target, 11);
    request_.set(http::field::host, call.server.text());
    for (const auto& [name, value] : call.headers) request_.insert(name, value);
    request_.body() = std::move(call.body);
    request_.prepare_payload();
    if (stream_ && (server_ != call.server || is_gone())) stream_.reset();
    server_ = std::move(call.server);
    if (stream_) {
      stream_->expires_after(call.limit);
      return write();
    }
    connect(call.limit);
  }

 private:
  // The server has closed the connection while nothing was under way.
  bool is_gone() {
    error_code error;
    char byte = 0;
    stream_->socket().non_blocking(true, error);
    if (error) return true;
    stream_->socket().receive(asio::buffer(&byte, 1), tcp::socket::message_peek, error);
    return error != asio::error::would_block;
  }

  void connect(Duration limit) {
    std::string problem;
    const Endpoints* const endpoints = loop_.endpoints_of(server_, problem);
    if (endpoints == nullptr) {
      return asio::post(loop_.io_, [this, problem] { end(fail(ErrorCode::kUnavailable, place() + problem)); });
    }
    buffer_.clear();
    stream_.emplace(loop_.io_);
    stream_->expires_after(limit);
    stream_->async_connect(*endpoints, [this](error_code error, const tcp::endpoint&) {
      if (error) return end(fail(ErrorCode::kUnavailable, place() + error.message()));
      stream_->socket().set_option(tcp::no_delay(true), error);
      write();
    });
  }

  void write() {
    http::async_write(*stream_, request_, [this](error_code error, size_t) {
      // A server that refuses a request may close before all of it was sent, and its answer is there all the same.
      if (error == beast::error::timeout) return lose(error);
      read();
    });
  }

  void read() {
    parser_.emplace();
    parser_->body_limit(kMostAnswerBytes);
    http::async_read(*stream_, buffer_, *parser_, [this](error_code error, size_t) {
      if (error) return lose(error);
      auto& answer = parser_->get();
      HttpResponse response{.status = static_cast<int>(answer.result_int()), .body = std::move(answer.body())};
      for (const auto& field : answer) {
        response.headers.emplace_back(std::string(field.name_string()), std::string(field.value()));
      }
      if (!answer.keep_alive()) stream_.reset();
      end(std::move(response));
    });
  }

  void lose(error_code error) { end(fail(ErrorCode::kTimeout, place() + "the answer is lost: " + error.message())); }

  void end(Result<HttpResponse> answer) {
    if (!answer) stream_.reset();
    // Which may begin the next call.
    std::exchange(answered_, nullptr)(std::move(answer));
  }

  [[nodiscard]] std::string place() const { return "http://" + server_.text() + ": "; }

  Loop& loop_;
  HostPort server_;                          // of the last call
  std::optional<beast::tcp_stream> stream_;  // none: not connected
  beast::flat_buffer buffer_;
  http::request<http::string_body> request_;
  std::optional<http::response_parser<http::string_body>> parser_;
  Answered answered_;  // null: nothing is under way
};

void AsioHttpCaller::Loop::call(HttpCall call, Answered answered) {
  std::unique_ptr<Line>& line = lines_[call.line];
  if (line == nullptr) line = std::make_unique<Line>(*this);
  line->call(std::move(call), std::move(answered));
}

AsioHttpCaller::AsioHttpCaller() : loop_(std::make_unique<Loop>()) {}
AsioHttpCaller::~AsioHttpCaller() = default;

void AsioHttpCaller::call(HttpCall call, Answered answered) {
  loop_->call(std::move(call), std::move(answered));
}
void AsioHttpCaller::schedule(Duration delay, Task task) {
  loop_->schedule(delay, std::move(task));
}
void AsioHttpCaller::run() {
  loop_->run();
}
void AsioHttpCaller::stop() {
  loop_->stop();
}

}  // namespace millrace
