#include "adapters/http_server.h"

#include <algorithm>
#include <boost/asio.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <chrono>
#include <future>
#include <list>
#include <optional>
#include <sstream>
#include <thread>
#include <unordered_map>
#include <vector>

#include "adapters/http_message.h"
#include "adapters/http_stream.h"
#include "adapters/http_target.h"
#include "adapters/listen.h"
#include "adapters/server_stream.h"
#include "common/base/text.h"
#include "common/model/address.h"

namespace millrace {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using asio::ip::tcp;
using boost::system::error_code;
using SteadyClock = std::chrono::steady_clock;

constexpr size_t kReadAtOnce = 16u << 10;
// A client that is refused before its body was read may still be sending: what comes in this time is thrown away, since
// closing at once would reset the connection, and the client would not read why.
constexpr auto kLinger = std::chrono::seconds(2);
// An answer that has been leaving for longer has a slow reader, who may have to make way.
constexpr auto kSlowReader = std::chrono::seconds(1);
constexpr size_t kMostTurnedAway = 100;  // that are told so at once; others are closed without a word

}  // namespace

class HttpServer::Server {
 public:
  Server(HttpServerOptions options, Handler handler)
      : options_(std::move(options)),
        handler_(std::move(handler)),
        max_connections_(bounded_connections(options_.max_connections)) {}

  ~Server() {
    if (!thread_.joinable()) return;
    asio::post(*io_, [this] { close_all(); });
    thread_.join();
  }

  Status listen() {
    if (options_.tls) {
      if (Status read = read_certificate_again(); !read) return read;
    }
    if (const Status open = listener_.listen(options_.flag, options_.address); !open) return open;
    address_ = *parse_address(options_.flag, options_.address);
    address_.port = listener_.port();
    return {};
  }

  void run() {
    listener_.accept();
    sweep_later();
    thread_ = std::thread([this] { io_->run(); });
  }

  bool drain(Duration most) {
    auto drained = std::make_shared<std::promise<void>>();
    std::future<void> done = drained->get_future();
    asio::post(*io_, [this, drained] {
      drained_ = drained;
      begin_to_stop();
      close_idle();
      tell_if_drained();
    });
    return done.wait_for(most) == std::future_status::ready;
  }

  Status read_certificate_again() {
    auto context = make_tls_context(*options_.tls);
    if (!context) return std::unexpected(context.error());
    asio::post(*io_, [this, context = std::move(*context)]() mutable { tls_ = std::move(context); });
    return {};
  }

  [[nodiscard]] const HostPort& address() const { return address_; }

 private:
  class Connection;

  void admit(tcp::socket socket);
  void make_way();
  [[nodiscard]] bool is_full() const { return connections_.size() - turned_away_.size() >= max_connections_; }
  void sweep_later();
  void begin_to_stop();
  void close_idle();
  void tell_if_drained();
  void close_all();

  // Constant after listen().
  const HttpServerOptions options_;
  const Handler handler_;
  const size_t max_connections_;
  HostPort address_;

  // Owned by the server's thread; what posts to it from others looks first whether it is still there.
  std::shared_ptr<asio::io_context> io_ = std::make_shared<asio::io_context>(1);
  Listener listener_{*io_, [this](tcp::socket socket) { admit(std::move(socket)); }};
  asio::steady_timer sweep_{*io_};
  TlsContext tls_;         // of new connections; null: none
  bool stopping_ = false;  // no more requests
  bool closed_ = false;
  std::shared_ptr<std::promise<void>> drained_;  // null: nobody waits for it
  uint64_t last_id_ = 0;
  std::unordered_map<uint64_t, std::shared_ptr<Connection>> connections_;
  std::list<uint64_t> idle_;         // those that wait for a request, the longest first
  std::list<uint64_t> arriving_;     // those whose request is not whole yet, the longest first
  std::list<uint64_t> leaving_;      // those whose answer, or a part of it, is on its way, the longest first
  std::list<uint64_t> turned_away_;  // beyond the bound; each is answered 503
  size_t bodies_bytes_ = 0;          // of requests that are not answered yet

  std::thread thread_;
};

// One connection: waits for a request, reads it, hands it to the handler, writes the answer, and so on.
class HttpServer::Server::Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(Server& server, uint64_t id, tcp::socket socket)
      : server_(server), id_(id), bytes_(std::move(socket), server.tls_) {
    error_code gone;
    const auto peer = bytes_.socket().remote_endpoint(gone);
    if (!gone) peer_ = peer.address().to_string();
  }

  void begin() {
    if (!bytes_.is_tls()) return wait();
    stand_in(&server_.arriving_);
    expire_after(server_.options_.request_timeout);
    bytes_.async_handshake([self = shared_from_this()](error_code error) {
      if (self->is_open()) error || self->server_.stopping_ ? self->close() : self->wait();
    });
  }

  // There is no place for it.
  void turn_away() {
    stand_in(&server_.turned_away_);
    wait();
  }

  void wait() {
    if (buffer_.size() > 0) return read_head();  // the next request is here already
    stand_in(&server_.idle_);
    expire_after(is_turned_away() ? server_.options_.request_timeout : server_.options_.idle_timeout);
    bytes_.async_read_some(buffer_.prepare(kReadAtOnce), bound(&Connection::on_first_bytes));
  }

  void close() {
    leave_list();
    release_body();
    if (stream_ != nullptr) stream_->end();
    error_code ignored;
    bytes_.socket().close(ignored);
    server_.connections_.erase(id_);
    server_.tell_if_drained();
  }

  // The server ends: what was sent before still goes.
  void end_stream() {
    if (stream_ != nullptr) write_parts();
  }

  void answer(HttpResponse response) {
    release_body();
    const bool keep_alive = parser_->get().keep_alive() && !server_.stopping_;
    write(std::move(response), keep_alive);
  }

  [[nodiscard]] bool reads_slowly(SteadyClock::time_point now) const { return now - leaves_since_ > kSlowReader; }

  // Ends what is under way if it is late.
  void expire_if_before(SteadyClock::time_point now) {
    if (deadline_ >= now) return;
    expired_ = true;
    error_code ignored;
    bytes_.socket().cancel(ignored);
  }

 private:
  // What is called when something asynchronous has ended; it keeps this connection. What had ended well before close()
  // may be told after it.
  struct Completion {
    std::shared_ptr<Connection> connection;
    void (Connection::*method)(error_code error, size_t bytes);
    void operator()(error_code error, size_t bytes) const {
      if (connection->is_open()) ((*connection).*method)(error, bytes);
    }
  };
  Completion bound(void (Connection::*method)(error_code error, size_t bytes)) { return {shared_from_this(), method}; }

  // What it gives calls something on the server's thread, from any other: if the server is still there, and this
  // connection, which is found by its number.
  auto poster() {
    return [io = std::weak_ptr(server_.io_), &server = server_, id = id_](auto call) {
      const auto context = io.lock();
      if (!context) return;
      asio::post(*context, [&server, id, call = std::move(call)]() mutable {
        const auto found = server.connections_.find(id);
        if (found != server.connections_.end()) call(*std::shared_ptr<Connection>(found->second));
      });
    };
  }

  void expire_after(Duration duration) {
    expired_ = false;
    deadline_ = SteadyClock::now() + duration;
  }

  // At the end of this list of those that may have to make way, and no longer in another one; null: in none.
  void stand_in(std::list<uint64_t>* list) {
    if (is_turned_away()) return;  // until it is closed
    leave_list();
    list_ = list;
    if (list_ != nullptr) place_ = list_->insert(list_->end(), id_);
  }
  void leave_list() {
    if (list_ != nullptr) std::exchange(list_, nullptr)->erase(place_);
  }
  [[nodiscard]] bool is_open() { return bytes_.socket().is_open(); }
  [[nodiscard]] bool is_turned_away() const { return list_ == &server_.turned_away_; }

  // An answer, or a part of it, goes.
  void begin_to_leave() {
    stand_in(&server_.leaving_);
    leaves_since_ = SteadyClock::now();
    expire_after(server_.options_.response_timeout);
  }

  void release_body() { server_.bodies_bytes_ -= std::exchange(body_bytes_, 0); }

  void on_first_bytes(error_code error, size_t bytes) {
    if (error) return close();
    buffer_.commit(bytes);
    read_head();
  }

  void read_head() {
    stand_in(&server_.arriving_);
    parser_.emplace();
    parser_->header_limit(static_cast<uint32_t>(server_.options_.max_head_bytes));
    parser_->body_limit(server_.options_.max_body_bytes);
    expire_after(server_.options_.request_timeout);
    http::async_read_header(bytes_, buffer_, *parser_, bound(&Connection::on_head));
  }

  void on_head(error_code error, size_t /*bytes*/) {
    if (error) return on_broken(error);
    if (is_turned_away()) return refuse(not_now("all connections of this server are taken; send it again later"));
    const uint64_t body = parser_->content_length().value_or(parser_->chunked() ? server_.options_.max_body_bytes : 0);
    if (server_.bodies_bytes_ + body > server_.options_.max_bodies_bytes) {
      return refuse(not_now("too many requests are under way; send it again later"));
    }
    body_bytes_ = body;
    server_.bodies_bytes_ += body;
    if (!beast::iequals(parser_->get()[http::field::expect], "100-continue")) return read_body();
    static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
    asio::async_write(bytes_, asio::buffer(kContinue), bound(&Connection::on_continued));
  }

  void on_continued(error_code error, size_t /*bytes*/) { error ? close() : read_body(); }

  void read_body() { http::async_read(bytes_, buffer_, *parser_, bound(&Connection::on_request)); }

  void on_request(error_code error, size_t /*bytes*/) {
    if (error) return on_broken(error);
    stand_in(nullptr);
    HttpRequest request = to_http_request(parser_->get());
    if (!parse_target(request)) {
      tell_refused(400);
      return answer(http_problem(400, "'" + request.target.substr(0, 200) +
                                          "' is no path: it begins with / and has %XX for what is not in it as it is"));
    }
    request.peer = peer_;
    deadline_ = SteadyClock::time_point::max();
    server_.handler_(
        std::move(request), HttpReply([post = poster()](HttpResponse response) mutable {
          post([response = std::move(response)](Connection& one) mutable { one.answer(std::move(response)); });
        }));
  }

  void on_broken(error_code error) {
    auto problem = explain_broken_request(error, expired_, server_.options_);
    problem ? refuse(std::move(*problem)) : close();
  }

  void refuse(HttpResponse problem) {
    stand_in(nullptr);
    tell_refused(problem.status);
    write(std::move(problem), false);
  }
  void tell_refused(int status) {
    if (server_.options_.refused) server_.options_.refused(status);
  }

  void write(HttpResponse response, bool keep_alive) {
    const bool body_wanted = parser_->get().method() != http::verb::head;
    if (response.stream && body_wanted) return begin_stream(response);
    write_head(response, keep_alive);
    if (response.status != 204 && response.status != 304) response_->content_length(response.body.size());
    if (body_wanted) response_->body() = std::move(response.body);
    begin_to_leave();
    http::async_write(bytes_, *response_, bound(&Connection::on_written));
  }

  void write_head(const HttpResponse& response, bool keep_alive) {
    response_ = to_beast_head(response, server_.options_.headers, parser_->get().version());
    response_->keep_alive(keep_alive);
  }

  // It has no length: it ends with the connection.
  void begin_stream(HttpResponse& response) {
    write_head(response, false);
    const bool chunked = response.marks_end && response_->version() >= 11;
    marks_end_ = response.marks_end;
    if (chunked) response_->chunked(true);
    std::ostringstream head;
    head << response_->base();
    parts_.begin(head.str(), chunked);
    stream_ = std::make_shared<QueuedStream>(server_.options_.max_stream_bytes,
                                             [post = poster()] { post([](Connection& one) { one.write_parts(); }); });
    stream_->send(std::make_shared<const std::string>(std::move(response.body)));
    response.stream(stream_);
    // Whoever reads a stream says nothing more, until it goes.
    buffer_.clear();
    watch();
    write_parts();
  }

  void watch() { bytes_.async_read_some(buffer_.prepare(kReadAtOnce), bound(&Connection::on_watched)); }

  void on_watched(error_code error, size_t /*bytes*/) { error ? close() : watch(); }

  void write_parts() {
    if (!parts_.empty()) return;  // they are under way
    if (server_.stopping_) marks_end_ ? stream_->give_up() : stream_->end();
    QueuedStream::Taken taken = stream_->take();
    if (taken.broken) return close();
    const bool ended = taken.ended;
    parts_.put(std::move(taken));
    if (parts_.empty()) {
      stand_in(nullptr);
      deadline_ = SteadyClock::time_point::max();
      if (ended) close();
      return;
    }
    begin_to_leave();
    asio::async_write(bytes_, parts_.buffers(), bound(&Connection::on_parts_written));
  }

  void on_parts_written(error_code error, size_t /*bytes*/) {
    if (error) return close();
    parts_.clear();
    write_parts();
  }

  void on_written(error_code error, size_t /*bytes*/) {
    if (error || server_.stopping_) return close();
    if (response_->keep_alive()) return wait();
    release_body();
    leaves_since_ = {};  // it has gone
    expire_after(kLinger);
    buffer_.clear();
    if (!bytes_.is_tls()) return end_sending();
    bytes_.async_shutdown([self = shared_from_this()](error_code) {
      if (self->is_open()) self->end_sending();
    });
  }

  void end_sending() {
    error_code ignored;
    bytes_.socket().shutdown(tcp::socket::shutdown_send, ignored);
    linger();
  }

  void linger() { bytes_.socket().async_read_some(buffer_.prepare(kReadAtOnce), bound(&Connection::on_lingering)); }

  void on_lingering(error_code error, size_t /*bytes*/) { error ? close() : linger(); }

  Server& server_;
  const uint64_t id_;
  ServerStream bytes_;
  std::string peer_;
  SteadyClock::time_point deadline_ = SteadyClock::time_point::max();
  bool expired_ = false;                  // what was under way at the deadline
  SteadyClock::time_point leaves_since_;  // while it is among those whose answer is on its way
  beast::flat_buffer buffer_;
  std::optional<http::request_parser<http::string_body>> parser_;  // of the request under way
  std::optional<http::response<http::string_body>> response_;      // under way
  std::shared_ptr<QueuedStream> stream_;                           // if the answer is one that goes on
  bool marks_end_ = false;
  PartsUnderWay parts_;                  // of it
  std::list<uint64_t>* list_ = nullptr;  // of the server's, where it stands; null: in none
  std::list<uint64_t>::iterator place_;  // in it
  size_t body_bytes_ = 0;                // that it has of the server's
};

void HttpServer::Server::admit(tcp::socket socket) {
  if (is_full()) make_way();
  const bool turned_away = is_full();
  // It takes more to say so by TLS than to do without.
  if (turned_away && (turned_away_.size() >= kMostTurnedAway || tls_ != nullptr)) return;
  const uint64_t id = ++last_id_;
  const auto connection = std::make_shared<Connection>(*this, id, std::move(socket));
  connections_.emplace(id, connection);
  turned_away ? connection->turn_away() : connection->begin();
}

void HttpServer::Server::make_way() {
  for (const std::list<uint64_t>* list : {&idle_, &arriving_, &leaving_}) {
    if (list->empty()) continue;
    const std::shared_ptr<Connection> first = connections_.at(list->front());
    if (list != &leaving_ || first->reads_slowly(SteadyClock::now())) first->close();
    return;
  }
}

void HttpServer::Server::sweep_later() {
  const auto often = std::min<Duration>({std::chrono::seconds(1), options_.idle_timeout / 4,
                                         options_.request_timeout / 4, options_.response_timeout / 4});
  sweep_.expires_after(often);
  sweep_.async_wait([this](error_code error) {
    if (error || closed_) return;
    const auto now = SteadyClock::now();
    for (const auto& [id, connection] : connections_) connection->expire_if_before(now);
    sweep_later();
  });
}

void HttpServer::Server::begin_to_stop() {
  stopping_ = true;
  listener_.close();
  std::vector<std::shared_ptr<Connection>> all;
  for (const auto& [id, connection] : connections_) all.push_back(connection);
  for (const auto& connection : all) connection->end_stream();
}

void HttpServer::Server::close_idle() {
  for (const std::list<uint64_t>* list : {&idle_, &turned_away_}) {
    while (!list->empty()) std::shared_ptr<Connection>(connections_.at(list->front()))->close();
  }
}

void HttpServer::Server::tell_if_drained() {
  if (drained_ == nullptr || !connections_.empty()) return;
  std::exchange(drained_, nullptr)->set_value();
}

void HttpServer::Server::close_all() {
  begin_to_stop();
  closed_ = true;
  sweep_.cancel();
  while (!connections_.empty()) std::shared_ptr<Connection>(connections_.begin()->second)->close();
}

HttpServer::HttpServer(std::unique_ptr<Server> server) : server_(std::move(server)) {}
HttpServer::~HttpServer() = default;

Result<std::unique_ptr<HttpServer>> HttpServer::start(HttpServerOptions options, Handler handler) {
  auto server = std::make_unique<Server>(std::move(options), std::move(handler));
  if (const Status listening = server->listen(); !listening) return std::unexpected(listening.error());
  server->run();
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(server)));
}

Status HttpServer::read_certificate_again() {
  return server_->read_certificate_again();
}

bool HttpServer::drain(Duration most) {
  return server_->drain(most);
}
std::string HttpServer::address() const {
  return server_->address().text();
}
uint16_t HttpServer::port() const {
  return server_->address().port;
}

}  // namespace millrace
