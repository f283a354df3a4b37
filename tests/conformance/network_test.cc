// What every Network keeps.
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "tests/conformance/network_stage.h"

namespace millrace {
namespace {

struct Recorder final : NetworkHandler {
  explicit Recorder(NetworkNode& node_to_record) : node(node_to_record) {
    node.run([&] { node.network().set_handler(this); });
  }
  void on_link_up(LinkId link) override {
    EXPECT_TRUE(node.loop().on_loop());
    ++ups[link];
  }
  void on_link_down(LinkId link, const std::string& reason) override {
    EXPECT_TRUE(node.loop().on_loop());
    EXPECT_FALSE(reason.empty());
    ++downs[link];
  }
  void on_frame(Frame frame, const std::string& from) override {
    EXPECT_TRUE(node.loop().on_loop());
    EXPECT_FALSE(from.empty());
    if (keep) frames.push_back(std::move(frame));
    ++arrived;
  }

  LinkId connect(const Endpoint& to) {
    LinkId link;
    node.run([&] { link = node.network().connect(to); });
    return link;
  }
  bool send(LinkId link, const std::string& control, SharedBuffer bulk = {}) {
    bool taken = false;
    node.run([&] { taken = node.network().send(link, {SharedBuffer::of(control), std::move(bulk)}); });
    return taken;
  }

  NetworkNode& node;
  std::map<LinkId, int> ups;
  std::map<LinkId, int> downs;
  std::vector<Frame> frames;
  bool keep = true;
  int arrived = 0;
};

class NetworkConformance : public OnEveryStage {
 protected:
  ~NetworkConformance() override {
    for (NetworkNode* node : {&one_node_, two_alive_ ? &two_node_ : nullptr}) {
      if (node != nullptr) node->run([&] { node->network().set_handler(nullptr); });
    }
  }
  void kill_two() {
    stage_->kill(two_node_, [&] { two_node_.network().set_handler(nullptr); });
    two_alive_ = false;
  }

  NetworkNode& one_node_ = stage_->add_node();
  NetworkNode& two_node_ = stage_->add_node();
  bool two_alive_ = true;
  Recorder one_{one_node_};
  Recorder two_{two_node_};
};

TEST_P(NetworkConformance, CarriesFramesWithAndWithoutBulk) {
  const LinkId link = one_.connect(two_node_.endpoint());
  EXPECT_NE(link, LinkId());
  EXPECT_TRUE(one_.send(link, "before it is up"));
  ASSERT_TRUE(stage_->wait_until(one_node_, [&] { return one_.ups[link] == 1; }));
  EXPECT_TRUE(one_.send(link, "with", SharedBuffer::of("bulk")));
  EXPECT_TRUE(one_.send(link, std::string(100'000, 'x')));
  ASSERT_TRUE(stage_->wait_until(two_node_, [&] { return two_.arrived == 3; }));
  EXPECT_EQ(two_.frames[0].control.view(), "before it is up");
  EXPECT_TRUE(two_.frames[0].bulk.empty());
  EXPECT_EQ(two_.frames[1].control.view(), "with");
  EXPECT_EQ(two_.frames[1].bulk.view(), "bulk");
  EXPECT_EQ(two_.frames[2].control.size(), 100'000);
}

TEST_P(NetworkConformance, KeepsTheOrderOfOneLink) {
  const LinkId link = one_.connect(two_node_.endpoint());
  constexpr int kFrames = 5'000;
  for (int i = 0; i < kFrames; ++i) EXPECT_TRUE(one_.send(link, std::to_string(i)));
  ASSERT_TRUE(stage_->wait_until(two_node_, [&] { return two_.arrived == kFrames; }));
  for (int i = 0; i < kFrames; ++i) {
    ASSERT_EQ(two_.frames[static_cast<size_t>(i)].control.view(), std::to_string(i));
  }
}

TEST_P(NetworkConformance, CarriesLargeBulkUnchanged) {
  const LinkId link = one_.connect(two_node_.endpoint());
  std::string bytes(64 << 20, '\0');
  for (size_t i = 0; i < bytes.size(); i += 997) bytes[i] = static_cast<char>(i * 31);
  const SharedBuffer bulk = SharedBuffer::of(std::move(bytes));
  EXPECT_TRUE(one_.send(link, "large", bulk));
  ASSERT_TRUE(stage_->wait_until(two_node_, [&] { return two_.arrived == 1; }));
  EXPECT_TRUE(two_.frames[0].bulk.view() == bulk.view());
}

TEST_P(NetworkConformance, EndsALinkWhenThePeerDies) {
  const LinkId link = one_.connect(two_node_.endpoint());
  ASSERT_TRUE(stage_->wait_until(one_node_, [&] { return one_.ups[link] == 1; }));
  kill_two();
  ASSERT_TRUE(stage_->wait_until(one_node_, [&] { return one_.downs[link] == 1; }));
  EXPECT_FALSE(one_.send(link, "to nobody"));
}

TEST_P(NetworkConformance, ReachesWhoTakesAnEndpointOver) {
  const Endpoint endpoint = two_node_.endpoint();
  kill_two();
  NetworkNode& three_node = stage_->add_node(&two_node_);
  Recorder three(three_node);
  const LinkId link = one_.connect(endpoint);
  EXPECT_TRUE(one_.send(link, "hello"));
  EXPECT_TRUE(stage_->wait_until(three_node, [&] { return three.arrived == 1; }));
  three_node.run([&] { three_node.network().set_handler(nullptr); });
}

TEST_P(NetworkConformance, EndsALinkToNobody) {
  const LinkId link = one_.connect(stage_->nobody());
  ASSERT_TRUE(stage_->wait_until(one_node_, [&] { return one_.downs[link] == 1; }));
  EXPECT_EQ(one_.ups[link], 0);
  EXPECT_FALSE(one_.send(link, "to nobody"));
}

TEST_P(NetworkConformance, SaysNothingOfALinkThatWasDisconnected) {
  const LinkId link = one_.connect(two_node_.endpoint());
  ASSERT_TRUE(stage_->wait_until(one_node_, [&] { return one_.ups[link] == 1; }));
  one_node_.run([&] { one_node_.network().disconnect(link); });
  EXPECT_FALSE(one_.send(link, "after the end"));
  one_node_.run([&] { one_node_.network().disconnect(link); });
  kill_two();
  // Another link's end comes after any notice of the first.
  const LinkId other = one_.connect(stage_->nobody());
  ASSERT_TRUE(stage_->wait_until(one_node_, [&] { return one_.downs[other] == 1; }));
  EXPECT_EQ(one_.downs[link], 0);
}

TEST_P(NetworkConformance, RefusesFramesAboveItsBoundAndLosesNoneThatItTook) {
  const LinkId link = one_.connect(two_node_.endpoint());
  two_.keep = false;
  const auto thaw = stage_->freeze(two_node_);
  const SharedBuffer bulk = SharedBuffer::of(std::string(1 << 20, 'x'));
  constexpr int kMost = 4'096;
  int taken = 0;
  while (taken < kMost && one_.send(link, "frame", bulk)) ++taken;
  EXPECT_GT(taken, 50);
  EXPECT_LT(taken, kMost);
  thaw();
  EXPECT_TRUE(stage_->wait_until(two_node_, [&] { return two_.arrived == taken; })) << two_.arrived << " of " << taken;
  EXPECT_TRUE(one_.send(link, "frame", bulk)) << "there is room again";
}

INSTANTIATE_TEST_SUITE_P(Network, NetworkConformance, testing::ValuesIn(stage_kinds()), name_of_stage);

}  // namespace
}  // namespace millrace
