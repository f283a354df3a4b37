// What only the network over ZeroMQ can meet: ports, strangers, floods.
#include "adapters/zeromq_network.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <future>
#include <memory>
#include <random>
#include <string>
#include <vector>
#include <zmq.hpp>

#include "common/runtime/event_loop.h"

namespace millrace {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

struct Counter final : NetworkHandler {
  void on_link_up(LinkId) override { ++ups; }
  void on_link_down(LinkId, const std::string& reason) override {
    last_reason = reason;
    ++downs;
  }
  void on_frame(Frame frame, const std::string&) override {
    if (frame.control.view() == "hello") ++hellos;
    if (echo != nullptr) echo(std::move(frame));
    ++frames;
  }
  std::atomic<int> ups = 0;
  std::atomic<int> downs = 0;
  std::atomic<int> frames = 0;
  std::atomic<int> hellos = 0;
  std::string last_reason;  // read after downs
  std::function<void(Frame)> echo;
};

bool wait_for(const std::function<bool()>& predicate) {
  const auto end = std::chrono::steady_clock::now() + seconds(30);
  while (!predicate()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(milliseconds(1));
  }
  return true;
}

// A network with its loop.
class Host {
 public:
  explicit Host(const ZeroMqOptions& options = {}) {
    loop_.start();
    auto opened = ZeroMqNetwork::open(options, loop_);
    EXPECT_TRUE(opened.has_value()) << opened.error();
    network_ = std::move(*opened);
    loop_.run_and_wait([&] { network_->set_handler(&counter); });
  }
  ~Host() {
    loop_.run_and_wait([&] { network_.reset(); });
  }
  LinkId connect(const std::string& to) {
    LinkId link;
    loop_.run_and_wait([&] { link = network_->connect({to}); });
    return link;
  }
  bool send(LinkId link, const std::string& control) {
    bool taken = false;
    loop_.run_and_wait([&] { taken = network_->send(link, {SharedBuffer::of(control), {}}); });
    return taken;
  }
  [[nodiscard]] std::string address() const { return network_->local_endpoint().address; }
  [[nodiscard]] uint16_t port() const {
    return static_cast<uint16_t>(std::stoi(address().substr(address().find(':') + 1)));
  }
  [[nodiscard]] ZeroMqNetwork& network() { return *network_; }
  [[nodiscard]] EventLoop& loop() { return loop_; }

  Counter counter;

 private:
  EventLoop loop_{"host"};
  std::unique_ptr<ZeroMqNetwork> network_;
};

// That a host still serves others.
void expect_well(Host& host) {
  Host friendly;
  const int before = host.counter.hellos;
  const LinkId link = friendly.connect(host.address());
  EXPECT_TRUE(friendly.send(link, "hello"));
  EXPECT_TRUE(wait_for([&] { return host.counter.hellos == before + 1; }));
}

int raw_connection(uint16_t port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (fd < 0) return -1;
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) return fd;
  close(fd);
  return -1;
}

// Reads until the other side closes.
bool closed_by_peer(int fd) {
  timeval patience{20, 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  char bytes[512];
  for (;;) {
    const ssize_t size = recv(fd, bytes, sizeof bytes, 0);
    if (size > 0) continue;
    return size == 0 || errno == ECONNRESET;
  }
}

TEST(ZeroMqNetwork, NamesThePortThatIsInUse) {
  Host host;
  ZeroMqOptions options;
  options.listen = host.address();
  EventLoop loop("second");
  const auto second = ZeroMqNetwork::open(options, loop);
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().code, ErrorCode::kExists);
  EXPECT_NE(second.error().message.find(host.address()), std::string::npos);
}

TEST(ZeroMqNetwork, RefusesAddressesThatCannotBe) {
  EventLoop loop("none");
  for (const char* listen : {"", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536", "0.0.0.0:0", "*:0",
                             "192.0.2.1:0", "no such host:0", ":0"}) {
    ZeroMqOptions options;
    options.listen = listen;
    const auto opened = ZeroMqNetwork::open(options, loop);
    ASSERT_FALSE(opened.has_value()) << listen;
    EXPECT_EQ(opened.error().code, ErrorCode::kInvalid) << listen;
  }
}

TEST(ZeroMqNetwork, AdvertisesTheHostItWasTold) {
  ZeroMqOptions options;
  options.listen = "0.0.0.0:0";
  options.advertise = "worker.example";
  Host host(options);
  EXPECT_EQ(host.address().substr(0, 15), "worker.example:");
}

TEST(ZeroMqNetwork, EndsALinkToAnImpossibleAddressOrAForeignServer) {
  ZeroMqOptions options;
  options.connect_timeout = milliseconds(300);
  Host host(options);
  host.connect("no host at all");
  host.connect("name.invalid:7070");
  EXPECT_TRUE(wait_for([&] { return host.counter.downs == 2; }));

  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(listen(listener, 5), 0);
  socklen_t size = sizeof address;
  getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size);
  host.connect("127.0.0.1:" + std::to_string(ntohs(address.sin_port)));  // accepts, says nothing
  EXPECT_TRUE(wait_for([&] { return host.counter.downs == 3; }));
  EXPECT_EQ(host.counter.ups, 0);
  close(listener);
}

TEST(ZeroMqNetwork, SurvivesRandomBytesOnItsPort) {
  Host host;
  std::mt19937_64 random(1);
  const std::string greeting("\xff\0\0\0\0\0\0\0\x01\x7f\x03\0NULL\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 32);
  for (int i = 0; i < 300; ++i) {
    const int fd = raw_connection(host.port());
    ASSERT_GE(fd, 0);
    std::string bytes = i % 3 == 0 ? greeting + std::string(32, '\0') : "";
    if (i % 3 == 1) bytes = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    const size_t more = random() % 300;
    for (size_t b = 0; b < more; ++b) bytes.push_back(static_cast<char>(random()));
    EXPECT_GE(::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL), 0);
    close(fd);
  }
  expect_well(host);
}

TEST(ZeroMqNetwork, ClosesConnectionsThatNeverShakeHandsAndServesOthersMeanwhile) {
  ZeroMqOptions options;
  options.handshake_timeout = milliseconds(500);
  Host host(options);
  std::vector<int> half_open;
  for (int i = 0; i < 2'000; ++i) {
    const int fd = raw_connection(host.port());
    if (fd < 0) break;  // no descriptors: as many as this machine allows
    half_open.push_back(fd);
    if (i == 400) expect_well(host);
  }
  EXPECT_GT(half_open.size(), 300);
  for (const int fd : half_open) {
    EXPECT_TRUE(closed_by_peer(fd));
    close(fd);
  }
  expect_well(host);
}

TEST(ZeroMqNetwork, DropsAndCountsWhatIsNotOneOrTwoParts) {
  Host host;
  zmq::context_t context;
  zmq::socket_t dealer(context, zmq::socket_type::dealer);
  dealer.set(zmq::sockopt::linger, 0);
  dealer.set(zmq::sockopt::reconnect_ivl, -1);
  dealer.connect("tcp://" + host.address());
  for (const int parts : {3, 4, 50}) {
    for (int i = 0; i < parts; ++i) {
      const auto flags = i + 1 < parts ? zmq::send_flags::sndmore : zmq::send_flags::none;
      (void)dealer.send(zmq::buffer(std::string(100'000, 'x')), flags);
    }
  }
  (void)dealer.send(zmq::buffer(std::string("hello")), zmq::send_flags::none);
  EXPECT_TRUE(wait_for([&] { return host.counter.hellos == 1; }));
  EXPECT_EQ(host.counter.frames, 1);
  EXPECT_EQ(host.network().malformed_messages(), 3);
}

TEST(ZeroMqNetwork, ClosesTheConnectionOfAnOversizedPartOnly) {
  ZeroMqOptions options;
  options.max_part_bytes = 1 << 20;
  Host host(options);
  Host friendly;
  const LinkId link = friendly.connect(host.address());
  ASSERT_TRUE(wait_for([&] { return friendly.counter.ups == 1; }));
  zmq::context_t context;
  zmq::socket_t dealer(context, zmq::socket_type::dealer);
  dealer.set(zmq::sockopt::linger, 0);
  dealer.set(zmq::sockopt::reconnect_ivl, -1);
  dealer.connect("tcp://" + host.address());
  (void)dealer.send(zmq::buffer(std::string(2 << 20, 'x')), zmq::send_flags::none);
  EXPECT_TRUE(friendly.send(link, "hello"));
  EXPECT_TRUE(wait_for([&] { return host.counter.hellos == 1; }));
  EXPECT_EQ(host.counter.frames, 1);
  EXPECT_EQ(friendly.counter.downs, 0);
}

TEST(ZeroMqNetwork, KeepsABoundOnWhatArrivedAndIsNotHandled) {
  ZeroMqOptions options;
  options.max_arrived_frames = 100;
  Host host(options);
  std::promise<void> thaw;
  host.loop().post([&] { thaw.get_future().wait(); });
  Host sender;
  const LinkId link = sender.connect(host.address());
  int sent = 0;
  for (; sent < 5'000; ++sent) ASSERT_TRUE(sender.send(link, "hello"));
  thaw.set_value();
  EXPECT_TRUE(wait_for([&] { return host.counter.hellos == sent; }));
}

TEST(ZeroMqNetwork, PassesAControlMessageInMicroseconds) {
  Host one;
  Host two;
  const LinkId there = one.connect(two.address());
  const LinkId back = two.connect(one.address());
  ASSERT_TRUE(wait_for([&] { return one.counter.ups == 1 && two.counter.ups == 1; }));
  two.loop().run_and_wait([&] { two.counter.echo = [&](Frame frame) { two.network().send(back, std::move(frame)); }; });
  constexpr int kRounds = 2'000;
  std::promise<void> done;
  int round = 0;
  const auto start = std::chrono::steady_clock::now();
  one.loop().run_and_wait([&] {
    one.counter.echo = [&](Frame frame) {
      if (++round == kRounds) return done.set_value();
      one.network().send(there, std::move(frame));
    };
    one.network().send(there, {SharedBuffer::of("ping"), {}});
  });
  done.get_future().wait();
  const Duration hop = (std::chrono::steady_clock::now() - start) / (2 * kRounds);
  RecordProperty("hop_us", static_cast<int>(to_us(hop)));
  std::cout << "a hop takes " << to_us(hop) << " us\n";
  EXPECT_LT(hop, milliseconds(5)) << "a hop waits for something";  // far above, since machines are shared
}

}  // namespace
}  // namespace millrace
