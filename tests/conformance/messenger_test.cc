// What a Messenger keeps on every Network that works.
#include <glog/logging.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/runtime/messenger.h"
#include "common/wire/codec.h"
#include "tests/conformance/network_stage.h"

namespace millrace {
namespace {

uint64_t next_process = 1000;

// A node with a Messenger; remembers what it is told.
struct Role final : MessengerHandler {
  explicit Role(NetworkNode& node_of_role, MessengerOptions options = {}) : node(node_of_role) {
    options.self = ProcessId(next_process++);
    options.version = "test";
    self = options.self;
    node.run([&] { messenger = std::make_unique<Messenger>(options, node.network(), node.loop(), *this); });
  }
  void end() {
    node.run([&] { messenger.reset(); });
  }

  void connect(const Endpoint& to) {
    node.run([&] { messenger->connect(to); });
  }
  bool say(ProcessId to, int64_t id, const SharedBuffer& bulk = {}) {
    bool taken = false;
    node.run([&] { taken = messenger->send(to, query(id), bulk); });
    return taken;
  }
  // What the loop knows, read on it.
  template <typename Read>
  auto ask(Read read) {
    decltype(read()) value{};
    node.run([&] { value = read(); });
    return value;
  }
  static wire::Envelope query(int64_t id) {
    wire::Envelope envelope;
    wire::Query query;
    query.id = id;
    envelope.body.__set_query(query);
    return envelope;
  }

  void on_peer_up(const PeerInfo& peer) override {
    EXPECT_TRUE(node.loop().on_loop());
    ++ups[peer.process];
    peers[peer.process] = peer;
  }
  void on_peer_unreachable(const PeerInfo& peer, const std::string& reason) override {
    EXPECT_FALSE(reason.empty());
    ++unreachable[peer.process];
  }
  void on_refused(const Endpoint& endpoint, const std::string& reason) override {
    refusals.push_back(endpoint.address + ": " + reason);
  }
  void on_message(const PeerInfo& from, wire::Envelope envelope, SharedBuffer bulk) override {
    EXPECT_TRUE(node.loop().on_loop());
    EXPECT_EQ(ups[from.process], 1);
    EXPECT_EQ(envelope.header.sender, static_cast<int64_t>(from.process.value()));
    EXPECT_EQ(envelope.header.receiver, static_cast<int64_t>(self.value()));
    bulk_bytes += bulk.size();
    heard[from.process].push_back(envelope.body.query.id);
    EXPECT_TRUE(!answer || messenger->send(from.process, query(envelope.body.query.id)));
  }

  NetworkNode& node;
  ProcessId self;
  std::unique_ptr<Messenger> messenger;
  std::map<ProcessId, int> ups;
  std::map<ProcessId, PeerInfo> peers;
  std::map<ProcessId, int> unreachable;
  std::map<ProcessId, std::vector<int64_t>> heard;
  std::vector<std::string> refusals;
  size_t bulk_bytes = 0;
  bool answer = false;
};

class MessengerConformance : public OnEveryStage {
 protected:
  MessengerConformance() { FLAGS_minloglevel = google::GLOG_ERROR; }
  ~MessengerConformance() override {
    for (auto& role : roles_) {
      if (role->messenger) role->end();
    }
  }
  Role& add(NetworkNode* like = nullptr, MessengerOptions options = {}) {
    roles_.push_back(std::make_unique<Role>(stage_->add_node(like), std::move(options)));
    return *roles_.back();
  }
  void kill(Role& role) {
    stage_->kill(role.node, [&] { role.messenger.reset(); });
  }
  bool meet(Role& one, Role& two) {
    return stage_->wait_until(one.node, [&] { return one.ups[two.self] == 1; }) &&
           stage_->wait_until(two.node, [&] { return two.ups[one.self] == 1; });
  }

  std::vector<std::unique_ptr<Role>> roles_;
};

TEST_P(MessengerConformance, IntroducesBothSidesWhoeverConnects) {
  Role& one = add();
  Role& two = add();
  one.connect(two.node.endpoint());
  ASSERT_TRUE(meet(one, two));
  const PeerInfo peer = one.ask([&] { return one.peers[two.self]; });
  EXPECT_EQ(peer.endpoint, two.node.endpoint());
  EXPECT_EQ(peer.version, "test");
  EXPECT_TRUE(two.say(one.self, 1));
  EXPECT_TRUE(one.say(two.self, 2));
  EXPECT_TRUE(stage_->wait_until(one.node, [&] { return one.heard[two.self].size() == 1; }));
  EXPECT_TRUE(stage_->wait_until(two.node, [&] { return two.heard[one.self].size() == 1; }));
  EXPECT_FALSE(one.say(ProcessId(4711), 1)) << "a process that never came up";
}

TEST_P(MessengerConformance, MakesOneSessionWhereBothConnectAtOnce) {
  Role& one = add();
  Role& two = add();
  one.connect(two.node.endpoint());
  two.connect(one.node.endpoint());
  ASSERT_TRUE(meet(one, two));
  two.node.run([&] { two.answer = true; });
  for (int i = 0; i < 3000; ++i) {
    ASSERT_TRUE(one.say(two.self, i, i % 100 == 0 ? SharedBuffer::of(std::string(100'000, 'x')) : SharedBuffer()));
  }
  ASSERT_TRUE(stage_->wait_until(one.node, [&] { return one.heard[two.self].size() == 3000; }));
  const auto heard = one.ask([&] { return one.heard[two.self]; });
  for (int i = 0; i < 3000; ++i) ASSERT_EQ(heard[static_cast<size_t>(i)], i);
  EXPECT_EQ(two.ask([&] { return two.bulk_bytes; }), 30 * 100'000);
  EXPECT_EQ(one.ask([&] { return one.ups[two.self]; }), 1);
  EXPECT_TRUE(one.ask([&] { return one.unreachable.empty(); }));
}

TEST_P(MessengerConformance, WaitsForAPeerThatIsNotThereYet) {
  Role& one = add();
  Role& early = add();
  const Endpoint endpoint = early.node.endpoint();
  kill(early);
  one.connect(endpoint);
  one.connect(endpoint);
  Role& two = add(&early.node);
  EXPECT_TRUE(meet(one, two));
}

TEST_P(MessengerConformance, FindsTheNewProcessBehindAnEndpoint) {
  Role& one = add();
  Role& old = add();
  one.connect(old.node.endpoint());
  ASSERT_TRUE(meet(one, old));
  kill(old);
  ASSERT_TRUE(stage_->wait_until(one.node, [&] { return one.unreachable[old.self] == 1; }));
  EXPECT_TRUE(one.say(old.self, 1)) << "the session lives until it is forgotten";
  Role& young = add(&old.node);
  ASSERT_TRUE(meet(one, young));
  EXPECT_TRUE(one.say(young.self, 2));
  ASSERT_TRUE(stage_->wait_until(young.node, [&] { return young.heard[one.self].size() == 1; }));
  EXPECT_EQ(young.ask([&] { return young.heard[one.self][0]; }), 2);
  one.node.run([&] { one.messenger->forget(old.self); });
  EXPECT_FALSE(one.say(old.self, 3));
  EXPECT_TRUE(one.say(young.self, 3));
  EXPECT_TRUE(stage_->wait_until(young.node, [&] { return young.heard[one.self].size() == 2; }));
  EXPECT_EQ(one.ask([&] { return one.unreachable[old.self]; }), 1);
}

TEST_P(MessengerConformance, TellsAForgottenProcessThatItIsForgotten) {
  Role& one = add();
  Role& two = add();
  two.connect(one.node.endpoint());
  ASSERT_TRUE(meet(one, two));
  one.node.run([&] { one.messenger->forget(two.self); });
  EXPECT_TRUE(two.say(one.self, 1));
  ASSERT_TRUE(stage_->wait_until(two.node, [&] { return two.refusals.size() == 1; }));
  EXPECT_FALSE(two.say(one.self, 2)) << "the session has ended";
  EXPECT_TRUE(one.ask([&] { return one.heard[two.self].empty(); }));
  EXPECT_EQ(one.ask([&] { return one.ups[two.self]; }), 1);
}

TEST_P(MessengerConformance, RefusesItself) {
  Role& one = add();
  one.connect(one.node.endpoint());
  ASSERT_TRUE(stage_->wait_until(one.node, [&] { return one.refusals.size() == 1; }));
  EXPECT_TRUE(one.ask([&] { return one.ups.empty(); }));
}

TEST_P(MessengerConformance, GivesUpAPeerThatTakesNothing) {
  MessengerOptions options;
  options.max_unacknowledged_bytes = 8 << 20;
  Role& one = add(nullptr, options);
  Role& two = add();
  one.connect(two.node.endpoint());
  ASSERT_TRUE(meet(one, two));
  const auto thaw = stage_->freeze(two.node);
  const SharedBuffer bulk = SharedBuffer::of(std::string(1 << 20, 'x'));
  int taken = 0;
  while (taken < 100 && one.say(two.self, taken, bulk)) ++taken;
  EXPECT_LT(taken, 9);
  EXPECT_TRUE(stage_->wait_until(one.node, [&] { return one.unreachable[two.self] == 1; }));
  EXPECT_FALSE(one.say(two.self, 1));
  thaw();
  EXPECT_TRUE(two.say(one.self, 1)) << "it does not know yet";
  EXPECT_TRUE(stage_->wait_until(two.node, [&] { return two.refusals.size() == 1; }));
  EXPECT_EQ(one.ask([&] { return one.unreachable[two.self]; }), 1);
}

INSTANTIATE_TEST_SUITE_P(Messenger, MessengerConformance, testing::ValuesIn(stage_kinds()), name_of_stage);

}  // namespace
}  // namespace millrace
