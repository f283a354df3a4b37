// HttpServer by TLS, spoken to by OpenSSL's client.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "adapters/http_server.h"
#include "common/base/check.h"
#include "tests/conformance/http_client.h"
#include "tests/conformance/temporary_directory.h"

namespace millrace {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

// Signed by itself, with a name that tells it from another.
void make_certificate(const TlsFiles& files, const std::string& name, EVP_PKEY* key = EVP_EC_gen("P-256")) {
  X509* const certificate = X509_new();
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
  X509_gmtime_adj(X509_getm_notBefore(certificate), -60);
  X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
  X509_set_pubkey(certificate, key);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
  X509_set_issuer_name(certificate, X509_get_subject_name(certificate));
  CHECK(X509_sign(certificate, key, EVP_sha256()) > 0);
  FILE* file = std::fopen(files.certificate.c_str(), "w");
  PEM_write_X509(file, certificate);
  std::fclose(file);
  file = std::fopen(files.key.c_str(), "w");
  PEM_write_PrivateKey(file, key, nullptr, nullptr, 0, nullptr, nullptr);
  std::fclose(file);
  X509_free(certificate);
  EVP_PKEY_free(key);
}

class TlsClient {
 public:
  explicit TlsClient(uint16_t port, int most_version = TLS1_3_VERSION) : socket_(port) {
    SSL_CTX_set_max_proto_version(context_.get(), most_version);
    ssl_.reset(SSL_new(context_.get()));
    SSL_set_fd(ssl_.get(), socket_.fd());
    connected_ = SSL_connect(ssl_.get()) == 1;
  }
  [[nodiscard]] bool connected() const { return connected_; }
  void send(std::string_view bytes) const { SSL_write(ssl_.get(), bytes.data(), static_cast<int>(bytes.size())); }
  // What comes up to and with `end`, or until the server ends.
  [[nodiscard]] std::string until(std::string_view end) const {
    std::string all;
    char buffer[16'384];
    while (all.find(end) == std::string::npos) {
      const int n = SSL_read(ssl_.get(), buffer, sizeof buffer);
      if (n <= 0) break;
      all.append(buffer, n);
    }
    return all;
  }
  // That nothing more comes was said, and not only that the connection is gone.
  [[nodiscard]] bool ended() const { return (SSL_get_shutdown(ssl_.get()) & SSL_RECEIVED_SHUTDOWN) != 0; }
  [[nodiscard]] std::string certificate_name() const {
    X509* const certificate = SSL_get1_peer_certificate(ssl_.get());
    char name[100] = {};
    X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, name, sizeof name);
    X509_free(certificate);
    return name;
  }

 private:
  struct Deleter {
    void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
    void operator()(SSL* ssl) const { SSL_free(ssl); }
  };
  HttpClient socket_;
  std::unique_ptr<SSL_CTX, Deleter> context_{SSL_CTX_new(TLS_client_method())};
  std::unique_ptr<SSL, Deleter> ssl_;
  bool connected_ = false;
};

class HttpTlsTest : public testing::Test {
 protected:
  HttpTlsTest() {
    std::signal(SIGPIPE, SIG_IGN);  // OpenSSL writes to connections that are gone
    make_certificate(files_, "first");
  }

  [[nodiscard]] std::unique_ptr<HttpServer> start(HttpServer::Handler handler, HttpServerOptions options = {}) const {
    options.address = "127.0.0.1:0";
    options.tls = files_;
    auto server = HttpServer::start(options, std::move(handler));
    EXPECT_TRUE(server) << server.error();
    return std::move(*server);
  }
  static void echo(HttpRequest request, HttpReply reply) { reply({.body = std::move(request.body)}); }
  static std::string post(const std::string& body, const std::string& more = "") {
    return "POST /a HTTP/1.1\r\nHost: a\r\n" + more + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" +
           body;
  }

  TemporaryDirectory directory_;
  const TlsFiles files_{directory_.path() + "/certificate.pem", directory_.path() + "/key.pem"};
};

TEST_F(HttpTlsTest, RequestsAreAnsweredOneAfterTheOtherAndTheEndIsSaid) {
  const auto server = start(echo);
  const TlsClient client(server->port());
  ASSERT_TRUE(client.connected());
  client.send(post("one"));
  EXPECT_THAT(client.until("one"), StartsWith("HTTP/1.1 200 OK"));
  client.send(post("two", "Connection: close\r\n"));
  EXPECT_THAT(client.until("nothing ends so"), EndsWith("two"));
  EXPECT_TRUE(client.ended());
}

TEST_F(HttpTlsTest, LargeBodiesGoBothWays) {
  const auto server = start(echo);
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&server, i] {
      const TlsClient client(server->port());
      std::string body(900'000, static_cast<char>('a' + i));
      client.send(post(body, "Connection: close\r\n"));
      EXPECT_THAT(client.until("nothing ends so"), EndsWith("\r\n\r\n" + body));
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST_F(HttpTlsTest, AnAnswerMayGoOn) {
  std::shared_ptr<HttpStream> stream;
  std::atomic<bool> begun = false;
  const auto server = start([&](HttpRequest, HttpReply reply) {
    HttpResponse response{.body = "first\n"};
    response.stream = [&](std::shared_ptr<HttpStream> its) {
      stream = std::move(its);
      begun = true;
    };
    reply(std::move(response));
  });
  const TlsClient client(server->port());
  client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_THAT(client.until("first\n"), HasSubstr("first\n"));
  while (!begun) std::this_thread::yield();
  stream->send(std::make_shared<const std::string>("second\n"));
  EXPECT_THAT(client.until("second\n"), HasSubstr("second\n"));
  stream->end();
}

TEST_F(HttpTlsTest, WhatIsNoTlsOrOldOrNeverComesIsClosed) {
  const auto server = start(echo, {.request_timeout = std::chrono::milliseconds(200)});
  EXPECT_THAT(http_get(server->port(), "/"), testing::Not(HasSubstr("HTTP/1.1")));
  EXPECT_FALSE(TlsClient(server->port(), TLS1_1_VERSION).connected());
  const HttpClient silent(server->port());
  EXPECT_EQ(silent.rest(), "");
  EXPECT_TRUE(TlsClient(server->port(), TLS1_2_VERSION).connected());
}

TEST_F(HttpTlsTest, ACertificateIsReadAgainForNewConnections) {
  const auto server = start(echo);
  const TlsClient old(server->port());
  EXPECT_EQ(old.certificate_name(), "first");
  make_certificate(files_, "second");
  ASSERT_TRUE(server->read_certificate_again());
  EXPECT_EQ(TlsClient(server->port()).certificate_name(), "second");
  old.send(post("one"));
  EXPECT_THAT(old.until("one"), HasSubstr("one"));

  make_certificate({files_.certificate, directory_.path() + "/other.pem"}, "third");
  const Status wrong = server->read_certificate_again();
  ASSERT_FALSE(wrong);
  EXPECT_THAT(wrong.error().message, HasSubstr("key.pem is no private key in PEM form, without a password, of"));
  EXPECT_EQ(TlsClient(server->port()).certificate_name(), "second");
  make_certificate({files_.certificate, directory_.path() + "/other.pem"}, "of another kind", EVP_RSA_gen(2048));
  EXPECT_THAT(server->read_certificate_again().error().message, HasSubstr("key.pem is not the private key of"));
}

// What has ended well is told after the connection was closed to make way.
TEST_F(HttpTlsTest, ThoseThatMakeWayInTheMiddleOfAHandshakeAreGone) {
  const auto server = start(echo, {.max_connections = 2});
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&server] {
      for (int k = 0; k < 100; ++k) {
        const TlsClient client(server->port());
        if (client.connected()) client.send(post("one"));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  const TlsClient client(server->port());
  client.send(post("two"));
  EXPECT_THAT(client.until("two"), HasSubstr("two"));
}

TEST_F(HttpTlsTest, FilesThatAreNoneAreRefusedByName) {
  for (const TlsFiles& wrong : {TlsFiles{"/nowhere/c.pem", files_.key}, TlsFiles{files_.certificate, "/nowhere/k.pem"},
                                TlsFiles{files_.key, files_.key}, TlsFiles{files_.certificate, files_.certificate}}) {
    const auto server = HttpServer::start({.address = "127.0.0.1:0", .tls = wrong}, echo);
    ASSERT_FALSE(server);
    EXPECT_EQ(server.error().code, ErrorCode::kInvalid);
    EXPECT_THAT(server.error().message, HasSubstr("PEM"));
  }
}

}  // namespace
}  // namespace millrace
