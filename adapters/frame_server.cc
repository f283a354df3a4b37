#include "adapters/frame_server.h"

#include <glog/logging.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <boost/asio.hpp>
#include <deque>
#include <thread>
#include <unordered_set>

#include "adapters/listen.h"

namespace millrace {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;
using SteadyClock = std::chrono::steady_clock;

// Messages up to this size do not count against the memory of the large ones, so that those cannot lock them out.
constexpr size_t kSmallMessage = 64u << 10;
constexpr auto kNever = SteadyClock::time_point::max();

enum class Stage {
  kIdle,     // between messages
  kWaiting,  // a large message waits for memory
  kReading,
  kHandling,  // in a pool; neither read nor written
  kWriting,
};

// Owned by the I/O thread; while kHandling a pool's thread reads `message`.
struct Connection {
  explicit Connection(tcp::socket accepted) : socket(std::move(accepted)) {}

  tcp::socket socket;
  Stage stage = Stage::kIdle;
  SteadyClock::time_point deadline = kNever;
  SteadyClock::time_point last_active = SteadyClock::now();
  bool served = false;  // has completed a message
  std::array<uint8_t, 4> header = {};
  std::string message;
  size_t size = 0;  // of the message that is coming
  size_t arrived = 0;
  size_t reserved = 0;  // of the memory of the large messages
  std::string answer;
  size_t answering = 0;  // of the memory of the answers
  size_t pool = 0;
};
using ConnectionPtr = std::shared_ptr<Connection>;

uint32_t load_big_endian(const std::array<uint8_t, 4>& bytes) {
  return uint32_t{bytes[0]} << 24 | uint32_t{bytes[1]} << 16 | uint32_t{bytes[2]} << 8 | uint32_t{bytes[3]};
}

std::array<uint8_t, 4> store_big_endian(size_t value) {
  return {static_cast<uint8_t>(value >> 24), static_cast<uint8_t>(value >> 16), static_cast<uint8_t>(value >> 8),
          static_cast<uint8_t>(value)};
}

}  // namespace

class FrameServer::Server {
 public:
  Server(FrameServerOptions options, ChoosePool choose_pool, Handle handle)
      : options_(std::move(options)),
        choose_pool_(std::move(choose_pool)),
        handle_(std::move(handle)),
        max_connections_(bounded_connections(options_.max_connections)) {
    for (const size_t threads : options_.pool_threads) {
      pools_.emplace_back();
      pools_.back().free_threads = threads;
      pools_.back().threads = std::make_unique<asio::thread_pool>(threads);
    }
  }

  ~Server() {
    asio::post(io_, [this] { close_all(); });
    for (Pool& pool : pools_) pool.threads->stop();
    for (Pool& pool : pools_) pool.threads->join();
    io_.stop();
    if (thread_.joinable()) thread_.join();
  }

  Status listen() {
    if (const Status open = listener_.listen(options_.flag, options_.address); !open) return open;
    port_ = listener_.port();
    return {};
  }

  void run() {
    listener_.accept();
    sweep_later();
    thread_ = std::thread([this] { io_.run(); });
  }

  [[nodiscard]] uint16_t port() const { return port_; }
  [[nodiscard]] size_t connections() const { return open_.load(); }

 private:
  struct Pool {
    std::unique_ptr<asio::thread_pool> threads;
    // Owned by the I/O thread.
    size_t free_threads = 0;
    std::deque<ConnectionPtr> waiting;
  };

  void admit(tcp::socket socket) {
    if (connections_.size() >= max_connections_) evict_one();
    if (connections_.size() >= max_connections_) return;  // all are at work: the new one is closed
    auto connection = std::make_shared<Connection>(std::move(socket));
    connections_.insert(connection);
    open_ = connections_.size();
    read_header(connection);
  }

  // Closes the connection that is least likely to be missed: one that never completed a message before one that
  // did, the longest silent first.
  void evict_one() {
    ConnectionPtr chosen;
    for (const ConnectionPtr& candidate : connections_) {
      const bool incoming = candidate->stage == Stage::kReading || candidate->stage == Stage::kWaiting;
      if (candidate->stage != Stage::kIdle && (candidate->served || !incoming)) continue;
      if (!chosen ||
          std::pair(candidate->served, candidate->last_active) < std::pair(chosen->served, chosen->last_active)) {
        chosen = candidate;
      }
    }
    if (chosen) close(chosen);
  }

  void enter(const ConnectionPtr& connection, Stage stage, SteadyClock::time_point deadline) {
    connection->stage = stage;
    connection->deadline = deadline;
  }

  void read_header(const ConnectionPtr& connection) {
    enter(connection, Stage::kIdle, SteadyClock::now() + options_.idle_timeout);
    asio::async_read(connection->socket, asio::buffer(connection->header),
                     [this, connection](error_code error, size_t) {
                       if (error) return close(connection);
                       connection->last_active = SteadyClock::now();
                       begin_message(connection);
                     });
  }

  void begin_message(const ConnectionPtr& connection) {
    connection->size = load_big_endian(connection->header);
    connection->arrived = 0;
    if (connection->size == 0 || connection->size > options_.max_frame_bytes) {
      LOG_EVERY_N(WARNING, 100) << options_.flag << ": a message of " << connection->size
                                << " bytes was refused; at most " << options_.max_frame_bytes << " are allowed";
      return close(connection);
    }
    if (connection->size <= kSmallMessage) return read_message(connection);
    waiting_.push_back(connection);
    enter(connection, Stage::kWaiting, kNever);
    admit_large_messages();
  }

  void admit_large_messages() {
    while (!waiting_.empty()) {
      const ConnectionPtr next = waiting_.front();
      if (large_bytes_ > 0 && large_bytes_ + next->size > options_.max_large_bytes) return;
      waiting_.pop_front();
      reserve(next, next->size);
      read_message(next);
    }
  }

  void reserve(const ConnectionPtr& connection, size_t bytes) {
    connection->reserved += bytes;
    large_bytes_ += bytes;
  }

  void release(const ConnectionPtr& connection) {
    large_bytes_ -= connection->reserved;
    connection->reserved = 0;
    answer_bytes_ -= connection->answering;
    connection->answering = 0;
  }

  void read_message(const ConnectionPtr& connection) {
    enter(connection, Stage::kReading, SteadyClock::now() + options_.frame_timeout);
    read_more(connection);
  }

  // The memory grows with what has arrived, not with what was announced.
  void read_more(const ConnectionPtr& connection) {
    const size_t target = std::min(connection->size, std::max(kSmallMessage, 2 * connection->arrived));
    connection->message.resize(target);
    asio::async_read(connection->socket,
                     asio::buffer(connection->message.data() + connection->arrived, target - connection->arrived),
                     [this, connection, target](error_code error, size_t) {
                       if (error) return close(connection);
                       connection->arrived = target;
                       if (target < connection->size) return read_more(connection);
                       hand_over(connection);
                     });
  }

  void hand_over(const ConnectionPtr& connection) {
    enter(connection, Stage::kHandling, kNever);
    connection->served = true;
    connection->pool = std::min(choose_pool_(connection->message), pools_.size() - 1);
    pools_[connection->pool].waiting.push_back(connection);
    handle_waiting();
  }

  // A small message may have a large answer: while those that are not yet taken are too many, nothing is handled.
  void handle_waiting() {
    for (Pool& pool : pools_) {
      while (!pool.waiting.empty() && pool.free_threads > 0 && answer_bytes_ <= options_.max_large_bytes) {
        const ConnectionPtr next = pool.waiting.front();
        pool.waiting.pop_front();
        if (!connections_.contains(next)) continue;
        --pool.free_threads;
        handle(next);
      }
    }
  }

  void handle(const ConnectionPtr& connection) {
    asio::post(*pools_[connection->pool].threads, [this, connection] {
      std::optional<std::string> answer;
      try {
        answer = handle_(connection->message);
      } catch (const std::exception& exception) {
        LOG(ERROR) << options_.flag << ": a handler threw: " << exception.what();
      }
      asio::post(io_, [this, connection, answer = std::move(answer)]() mutable {
        ++pools_[connection->pool].free_threads;
        reply(connection, std::move(answer));
        handle_waiting();
      });
    });
  }

  void reply(const ConnectionPtr& connection, std::optional<std::string> answer) {
    std::string().swap(connection->message);
    release(connection);
    if (!answer || answer->size() > options_.max_frame_bytes || !connections_.contains(connection)) {
      return close(connection);
    }
    connection->answer = std::move(*answer);
    connection->answering = connection->answer.size();
    answer_bytes_ += connection->answering;
    connection->header = store_big_endian(connection->answer.size());
    enter(connection, Stage::kWriting, SteadyClock::now() + options_.frame_timeout);
    const std::array<asio::const_buffer, 2> parts = {asio::buffer(connection->header),
                                                     asio::buffer(connection->answer)};
    asio::async_write(connection->socket, parts, [this, connection](error_code error, size_t) {
      std::string().swap(connection->answer);
      if (error) return close(connection);
      release(connection);
      connection->last_active = SteadyClock::now();
      read_header(connection);
      handle_waiting();
    });
    admit_large_messages();
  }

  void close(const ConnectionPtr& connection) {
    error_code ignored;
    connection->socket.close(ignored);
    if (connections_.erase(connection) == 0) return;
    open_ = connections_.size();
    release(connection);
    if (connection->stage == Stage::kWaiting) std::erase(waiting_, connection);
    if (stopping_) return;
    admit_large_messages();
    handle_waiting();
  }

  void close_all() {
    stopping_ = true;
    listener_.close();
    sweep_.cancel();
    while (!connections_.empty()) close(ConnectionPtr(*connections_.begin()));  // a copy: close() erases it
    waiting_.clear();
    for (Pool& pool : pools_) pool.waiting.clear();
  }

  void sweep_later() {
    const auto often =
        std::min<Duration>({std::chrono::seconds(1), options_.idle_timeout / 4, options_.frame_timeout / 4});
    sweep_.expires_after(often);
    sweep_.async_wait([this](error_code error) {
      if (error || stopping_) return;
      std::vector<ConnectionPtr> late;
      const auto now = SteadyClock::now();
      std::copy_if(connections_.begin(), connections_.end(), std::back_inserter(late),
                   [&](const ConnectionPtr& connection) { return connection->deadline < now; });
      for (const ConnectionPtr& connection : late) close(connection);
      sweep_later();
    });
  }

  // Constant after construction.
  const FrameServerOptions options_;
  const ChoosePool choose_pool_;
  const Handle handle_;
  const size_t max_connections_;
  uint16_t port_ = 0;

  // Owned by the I/O thread.
  asio::io_context io_{1};
  Listener listener_{io_, [this](tcp::socket socket) { admit(std::move(socket)); }};
  asio::steady_timer sweep_{io_};
  bool stopping_ = false;
  std::unordered_set<ConnectionPtr> connections_;
  std::deque<ConnectionPtr> waiting_;
  size_t large_bytes_ = 0;   // of messages
  size_t answer_bytes_ = 0;  // of answers that are not yet taken

  std::atomic<size_t> open_ = 0;
  std::vector<Pool> pools_;
  std::thread thread_;
};

FrameServer::FrameServer(std::unique_ptr<Server> server) : server_(std::move(server)) {}
FrameServer::~FrameServer() = default;

Result<std::unique_ptr<FrameServer>> FrameServer::start(FrameServerOptions options, ChoosePool choose_pool,
                                                        Handle handle) {
  auto server = std::make_unique<Server>(std::move(options), std::move(choose_pool), std::move(handle));
  if (const Status listening = server->listen(); !listening) return std::unexpected(listening.error());
  server->run();
  return std::unique_ptr<FrameServer>(new FrameServer(std::move(server)));
}

uint16_t FrameServer::port() const {
  return server_->port();
}
size_t FrameServer::connections() const {
  return server_->connections();
}

}  // namespace millrace
