// Plain sockets that speak HTTP to a server under test, byte by byte as a test wants.
#pragma once

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace millrace {

class HttpClient {
 public:
  explicit HttpClient(uint16_t port) : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    connected_ = connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
  }
  ~HttpClient() {
    if (fd_ >= 0) close(fd_);
  }
  HttpClient(HttpClient&& other) noexcept : fd_(std::exchange(other.fd_, -1)), connected_(other.connected_) {}
  HttpClient& operator=(HttpClient&&) = delete;

  [[nodiscard]] bool connected() const { return connected_; }
  [[nodiscard]] int fd() const { return fd_; }

  // An answer tells whether it arrived.
  void send(std::string_view bytes) const {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return;
      bytes.remove_prefix(sent);
    }
  }
  // All that comes until the server closes the connection.
  [[nodiscard]] std::string rest() const {
    std::string all;
    while (read_some(all)) {
    }
    return all;
  }
  // What comes up to and with `end`, or until the server closes the connection.
  [[nodiscard]] std::string until(std::string_view end) const {
    std::string all;
    while (all.find(end) == std::string::npos && read_some(all)) {
    }
    return all;
  }
  // Nothing to read and not closed, now.
  [[nodiscard]] bool silent() const {
    char byte = 0;
    return recv(fd_, &byte, 1, MSG_DONTWAIT | MSG_PEEK) < 0 && errno == EAGAIN;
  }

 private:
  bool read_some(std::string& all) const {
    char buffer[16'384];
    const ssize_t n = recv(fd_, buffer, sizeof(buffer), 0);
    if (n > 0) all.append(buffer, n);
    return n > 0;
  }

  int fd_;
  bool connected_ = false;
};

// The answer to one request, after which the connection is closed.
inline std::string http_fetch(uint16_t port, std::string_view request) {
  const HttpClient client(port);
  if (!client.connected()) return "no connection";
  client.send(request);
  return client.rest();
}

inline std::string http_get(uint16_t port, const std::string& path) {
  return http_fetch(port, "GET " + path + " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
}

}  // namespace millrace
