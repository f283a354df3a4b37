// A Messenger against a bare Network that plays the other side badly.
#include "common/runtime/messenger.h"

#include <glog/logging.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "common/runtime/session_windows.h"
#include "common/wire/codec.h"
#include "tests/sim/world.h"
#include "wire_constants.h"

namespace millrace {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

struct Told final : MessengerHandler {
  void on_peer_up(const PeerInfo&) override { ++ups; }
  void on_peer_unreachable(const PeerInfo&, const std::string&) override { ++unreachable; }
  void on_refused(const Endpoint&, const std::string& reason) override { refusals.push_back(reason); }
  void on_message(const PeerInfo& from, wire::Envelope envelope, SharedBuffer) override {
    heard.push_back(envelope.body.query.id);
    if (forget_at == envelope.body.query.id) messenger->forget(from.process);
  }
  int ups = 0;
  int unreachable = 0;
  std::vector<std::string> refusals;
  std::vector<int64_t> heard;
  Messenger* messenger = nullptr;
  int64_t forget_at = -1;
};

// Speaks the protocol frame by frame.
class BarePeer final : public NetworkHandler {
 public:
  BarePeer(World& world, SimProcess& process) : world_(world), network_(process.network()) {
    network_.set_handler(this);
  }
  void on_link_up(LinkId) override { ++ups; }
  void on_link_down(LinkId, const std::string&) override {}
  void on_frame(Frame frame, const std::string&) override {
    auto envelope = decode(frame.control);
    ASSERT_TRUE(envelope.has_value());
    got.push_back(std::move(*envelope));
  }

  void connect(const Endpoint& to) {
    link = network_.connect(to);
    world_.run_for(milliseconds(1));
  }
  void send(wire::Envelope envelope) {
    ASSERT_TRUE(network_.send(link, {encode(envelope), {}}));
    world_.run_for(milliseconds(1));
  }
  void send_bytes(const std::string& bytes) { network_.send(link, {SharedBuffer::of(bytes), {}}); }
  [[nodiscard]] wire::Envelope envelope(uint64_t receiver, int64_t sequence = 0) const {
    wire::Envelope envelope;
    envelope.header.protocol = protocol;
    envelope.header.sender = static_cast<int64_t>(self.value());
    envelope.header.receiver = static_cast<int64_t>(receiver);
    envelope.header.sequence = sequence;
    if (sequence > 0) {
      wire::Query query;
      query.id = sequence;
      envelope.body.__set_query(query);
    }
    return envelope;
  }
  // Hello that asks for an answer, and answers `answers`.
  void hello(uint64_t receiver, int64_t answers = 0) {
    wire::Envelope hello_envelope = envelope(receiver);
    wire::Hello hello;
    hello.role = wire::Role::AGENT;
    hello.endpoint = network_.local_endpoint().address;
    hello.link = 77;
    hello.answers = answers;
    hello_envelope.body.__set_hello(hello);
    send(hello_envelope);
  }
  // Both directions known.
  void shake_hands(uint64_t receiver) {
    hello(receiver);
    world_.run_for(milliseconds(1));
    for (const auto& frame : got) {
      if (frame.body.__isset.hello && frame.body.hello.link != 0) return hello(receiver, frame.body.hello.link);
    }
    FAIL() << "no answer";
  }
  template <typename Is>
  [[nodiscard]] int count(Is is) const {
    int found = 0;
    for (const auto& frame : got) found += is(frame) ? 1 : 0;
    return found;
  }

  ProcessId self{2};
  int32_t protocol = wire::g_wire_constants.kProtocol;
  LinkId link;
  int ups = 0;
  std::vector<wire::Envelope> got;

 private:
  World& world_;
  Network& network_;
};

class MessengerTest : public testing::Test {
 protected:
  MessengerTest() {
    FLAGS_minloglevel = google::GLOG_ERROR;
    SimLoop& loop = one_.make_loop("control");
    two_.make_loop("control");
    options_.self = ProcessId(1);
    options_.max_unacknowledged_bytes = 1 << 20;
    messenger_ = std::make_unique<Messenger>(options_, one_.network(), loop, told_);
    told_.messenger = messenger_.get();
    peer_ = std::make_unique<BarePeer>(world_, two_);
    peer_->connect(one_.endpoint());
  }
  static wire::Envelope query(int64_t id) {
    wire::Envelope envelope;
    wire::Query query;
    query.id = id;
    envelope.body.__set_query(query);
    return envelope;
  }
  static bool is_ack(const wire::Envelope& frame) { return frame.body.__isset.ack; }
  static bool is_hello(const wire::Envelope& frame) { return frame.body.__isset.hello; }
  static bool is_query(const wire::Envelope& frame) { return frame.body.__isset.query; }

  World world_{1, SimFaults::none()};
  SimProcess& one_ = world_.add_process("one");
  SimProcess& two_ = world_.add_process("two");
  MessengerOptions options_;
  Told told_;
  std::unique_ptr<Messenger> messenger_;
  std::unique_ptr<BarePeer> peer_;
};

TEST_F(MessengerTest, AnswersRepeatedHellosAndComesUpOnce) {
  for (int i = 0; i < 5; ++i) peer_->hello(1);
  world_.run_for(milliseconds(10));
  EXPECT_EQ(told_.ups, 0) << "it is not known yet whether this process lives";
  for (int i = 0; i < 5; ++i) peer_->shake_hands(1);
  EXPECT_EQ(told_.ups, 1);
  EXPECT_GE(peer_->count([](const auto& frame) { return is_hello(frame) && frame.body.hello.answers == 77; }), 5);
}

TEST_F(MessengerTest, StopsSayingHelloOnceItIsAnswered) {
  peer_->shake_hands(1);
  peer_->got.clear();
  world_.run_for(seconds(60));
  EXPECT_TRUE(peer_->got.size() <= 1) << peer_->got.size();
}

TEST_F(MessengerTest, DropsGarbageAndMisdirectedFramesAndCountsThem) {
  peer_->shake_hands(1);
  peer_->send_bytes("garbage");
  peer_->send_bytes("");
  peer_->send(peer_->envelope(99, 1));  // to another process
  wire::Envelope other = peer_->envelope(1, 1);
  other.header.protocol = 99;
  peer_->send(other);
  wire::Envelope never_sent = peer_->envelope(1, 1);
  never_sent.header.ack = 12;
  peer_->send(never_sent);
  wire::Envelope stranger = peer_->envelope(1, 1);
  stranger.header.sender = 4711;
  peer_->send(stranger);
  world_.run_for(milliseconds(10));
  EXPECT_EQ(messenger_->dropped_frames(), 6);
  EXPECT_TRUE(told_.heard.empty());
  peer_->send(peer_->envelope(1, 1));
  EXPECT_EQ(told_.heard, (std::vector<int64_t>{1}));
}

TEST_F(MessengerTest, RefusesAnotherProtocolVersionByName) {
  peer_->protocol = 99;
  peer_->hello(1);
  world_.run_for(milliseconds(10));
  EXPECT_EQ(told_.ups, 0);
  ASSERT_EQ(peer_->got.size(), 1);
  ASSERT_TRUE(peer_->got[0].body.__isset.refused);
  EXPECT_EQ(peer_->got[0].body.refused.answers, 77);
  EXPECT_NE(peer_->got[0].body.refused.reason.find("protocol version 99"), std::string::npos);
}

TEST_F(MessengerTest, TellsTheRoleThatItIsRefusedAndStopsTrying) {
  messenger_->connect(two_.endpoint());
  world_.run_for(milliseconds(10));
  ASSERT_EQ(peer_->count(is_hello), 1);
  wire::Envelope refusal = peer_->envelope(1);
  wire::Refused refused;
  refused.reason = "another version";
  refused.answers = peer_->got[0].body.hello.link;
  refusal.body.__set_refused(refused);
  peer_->send(refusal);
  EXPECT_EQ(told_.refusals, (std::vector<std::string>{"another version"}));
  peer_->got.clear();
  world_.run_for(seconds(60));
  EXPECT_TRUE(peer_->got.empty());
  messenger_->connect(two_.endpoint());
  world_.run_for(milliseconds(10));
  EXPECT_EQ(peer_->count(is_hello), 1) << "asked to try again";
}

TEST_F(MessengerTest, AcknowledgesTogether) {
  peer_->shake_hands(1);
  peer_->got.clear();
  for (int i = 1; i <= 640; ++i) peer_->send(peer_->envelope(1, i));
  world_.run_for(milliseconds(100));
  // 640 ms of messages: one each 20 ms, or each 64 messages.
  EXPECT_LE(peer_->count(is_ack), 640 / 20 + 10 + 1);
  EXPECT_EQ(peer_->got.back().header.ack, 640);
  EXPECT_EQ(told_.heard.size(), 640);
}

TEST_F(MessengerTest, AsksForExactlyWhatIsMissing) {
  peer_->shake_hands(1);
  peer_->got.clear();
  for (const int sequence : {1, 2, 5, 6, 9, 9, 5, 1}) peer_->send(peer_->envelope(1, sequence));
  world_.run_for(milliseconds(30));
  ASSERT_EQ(told_.heard.size(), 2);
  const auto asked = peer_->count([](const auto& frame) {
    return is_ack(frame) && frame.body.ack.resend && frame.body.ack.missing == std::vector<int64_t>{3, 4, 7, 8};
  });
  EXPECT_EQ(asked, 1);
  for (const int sequence : {8, 7, 4, 3}) peer_->send(peer_->envelope(1, sequence));
  EXPECT_EQ(told_.heard, (std::vector<int64_t>{1, 2, 3, 4, 5, 6, 7, 8, 9}));
}

TEST_F(MessengerTest, SendsAgainOnlyWhatIsAskedFor) {
  peer_->shake_hands(1);
  for (int i = 1; i <= 1000; ++i) EXPECT_TRUE(messenger_->send(peer_->self, query(i)));
  world_.run_for(milliseconds(10));
  EXPECT_EQ(peer_->count(is_query), 1000);
  peer_->got.clear();
  wire::Envelope request = peer_->envelope(1);
  request.header.ack = 500;
  wire::Ack ack;
  ack.resend = true;
  ack.missing = {501, 502, 900, 900, 2000, 3000, -5, 3, 7};
  request.body.__set_ack(ack);
  peer_->send(request);
  EXPECT_EQ(peer_->count(is_query), 3);
}

TEST_F(MessengerTest, SaysHowFarItHasSentWhereNothingIsAcknowledged) {
  peer_->shake_hands(1);
  EXPECT_TRUE(messenger_->send(peer_->self, query(1)));
  world_.run_for(milliseconds(10));
  peer_->got.clear();
  world_.run_for(seconds(60));
  EXPECT_EQ(peer_->count(is_query), 0) << "the message itself does not go again unasked";
  const int told = peer_->count([](const auto& frame) { return is_ack(frame) && frame.body.ack.newest == 1; });
  EXPECT_GE(told, 5);
  EXPECT_LE(told, 12);
}

TEST_F(MessengerTest, EndsTheSessionOfAPeerThatNeverAcknowledges) {
  peer_->shake_hands(1);
  int taken = 0;
  while (taken < 10'000 && messenger_->send(peer_->self, query(1))) ++taken;
  EXPECT_LT(taken, 10'000);
  EXPECT_EQ(told_.unreachable, 0) << "not from within send()";
  world_.run_for(seconds(1));
  EXPECT_EQ(told_.unreachable, 1);
  EXPECT_FALSE(messenger_->send(peer_->self, query(1)));
  peer_->got.clear();
  peer_->send(peer_->envelope(1, 1));
  world_.run_for(milliseconds(10));
  EXPECT_EQ(peer_->count([](const auto& frame) { return frame.body.__isset.refused; }), 1);
  EXPECT_TRUE(told_.heard.empty());
}

TEST_F(MessengerTest, DeliversNothingOfASessionThatTheHandlerForgets) {
  peer_->shake_hands(1);
  told_.forget_at = 2;
  for (const int sequence : {2, 3, 4, 1, 5}) peer_->send(peer_->envelope(1, sequence));
  EXPECT_EQ(told_.heard, (std::vector<int64_t>{1, 2}));
}

TEST_F(MessengerTest, ALateHelloOfADeadProcessBringsNobodyUpAndDisturbsNobody) {
  peer_->shake_hands(1);
  peer_->self = ProcessId(3);  // an earlier process of this endpoint
  for (int i = 0; i < 3; ++i) peer_->hello(1);
  peer_->self = ProcessId(2);
  world_.run_for(seconds(5));
  EXPECT_EQ(told_.ups, 1);
  EXPECT_EQ(told_.unreachable, 0);
  peer_->send(peer_->envelope(1, 1));
  EXPECT_EQ(told_.heard, (std::vector<int64_t>{1}));
}

TEST_F(MessengerTest, ForgetsTheEndpointOfAStrangerThatIsNotThere) {
  wire::Envelope envelope = peer_->envelope(1);
  wire::Hello hello;
  hello.endpoint = "nowhere:1";
  hello.link = 5;
  envelope.body.__set_hello(hello);
  peer_->send(envelope);
  world_.run_for(seconds(1));
  const uint64_t events = world_.events();
  world_.run_for(seconds(60));
  EXPECT_EQ(world_.events(), events) << "it still tries";
}

TEST(SendWindow, ForgetsWhatIsAcknowledgedAndRefusesWhatWasNeverSent) {
  SendWindow window;
  for (int i = 0; i < 3; ++i) window.push({SharedBuffer::of("x"), {}});
  EXPECT_EQ(window.next(), 4);
  window.mark_sent();
  EXPECT_TRUE(window.acknowledge(2));
  EXPECT_EQ(window.unsent(), 3);
  EXPECT_TRUE(window.acknowledge(1));
  EXPECT_EQ(window.acknowledged(), 2);
  EXPECT_FALSE(window.acknowledge(4));
  EXPECT_TRUE(window.acknowledge(3));
  EXPECT_EQ(window.bytes(), 0);
}

TEST(ReceiveWindow, BoundsWhatItKeepsAheadOfAGap) {
  ReceiveWindow window(2, 1 << 20);
  const Frame frame{SharedBuffer::of("x"), {}};
  EXPECT_EQ(window.arrive(3, frame), Arrival::kEarly);
  EXPECT_EQ(window.arrive(3, frame), Arrival::kRepeated);
  EXPECT_EQ(window.arrive(5, frame), Arrival::kEarly);
  EXPECT_EQ(window.arrive(7, frame), Arrival::kTooEarly);
  EXPECT_EQ(window.missing(10), (std::vector<SequenceRange>{{1, 2}, {4, 4}, {6, 7}}));
  EXPECT_EQ(window.missing(1), (std::vector<SequenceRange>{{1, 2}}));
  EXPECT_EQ(window.arrive(1, frame), Arrival::kNext);
  EXPECT_TRUE(window.take_next().control.empty());
  EXPECT_EQ(window.arrive(2, frame), Arrival::kNext);
  EXPECT_FALSE(window.take_next().control.empty());
  EXPECT_EQ(window.received(), 3);
  EXPECT_TRUE(window.has_gap());
}

}  // namespace
}  // namespace millrace
