#include "tests/conformance/network_stage.h"

#include <chrono>
#include <future>
#include <thread>

#include "adapters/local_network.h"
#include "adapters/zeromq_network.h"
#include "common/base/check.h"
#include "common/runtime/event_loop.h"
#include "tests/sim/world.h"

namespace millrace {

Endpoint NetworkNode::endpoint() {
  Endpoint endpoint;
  run([&] { endpoint = network().local_endpoint(); });
  return endpoint;
}

namespace {

constexpr std::chrono::seconds kPatience(30);

class SimNode final : public NetworkNode {
 public:
  SimNode(World& world, const std::string& name)
      : process(world.add_process(name)), loop_(process.make_loop("control")) {
    process.network();
  }
  Network& network() override { return process.network(); }
  TaskLoop& loop() override { return loop_; }
  void run(const std::function<void()>& action) override { action(); }

  SimProcess& process;

 private:
  SimLoop& loop_;
};

class SimStage final : public NetworkStage {
 public:
  NetworkNode& add_node(NetworkNode* like) override {
    const std::string name =
        like == nullptr ? "node-" + std::to_string(nodes_.size()) : static_cast<SimNode*>(like)->process.name();
    nodes_.push_back(std::make_unique<SimNode>(world_, name));
    return *nodes_.back();
  }
  void kill(NetworkNode& node, const std::function<void()>& last) override {
    last();
    world_.crash(static_cast<SimNode&>(node).process);
  }
  Endpoint nobody() override { return {"nobody:1"}; }
  // No loop runs but in wait_until().
  std::function<void()> freeze(NetworkNode&) override {
    return [] {};
  }
  bool wait_until(NetworkNode&, const std::function<bool()>& predicate) override {
    return world_.run_until(predicate, kPatience);
  }

 private:
  World world_{1, SimFaults::none()};
  std::vector<std::unique_ptr<SimNode>> nodes_;
};

// With a loop that is a thread.
class RealNode final : public NetworkNode {
 public:
  explicit RealNode(const std::function<std::unique_ptr<Network>(TaskLoop&)>& open) : loop_("node") {
    loop_.start();
    network_ = open(loop_);
  }
  ~RealNode() override {
    end([] {});
  }
  Network& network() override { return *network_; }
  TaskLoop& loop() override { return loop_; }
  void run(const std::function<void()>& action) override {
    CHECK(loop_.run_and_wait([&] { action(); }));
  }
  void end(const std::function<void()>& last) {
    loop_.run_and_wait([&] {
      last();
      network_.reset();
    });
    loop_.stop();
    loop_.join();
  }

 private:
  EventLoop loop_;
  std::unique_ptr<Network> network_;
};

class RealStage : public NetworkStage {
 public:
  NetworkNode& add_node(NetworkNode* like) override {
    const std::string address = like == nullptr ? any_address() : endpoints_.at(like);
    nodes_.push_back(std::make_unique<RealNode>([&](TaskLoop& loop) { return open(address, loop); }));
    endpoints_[nodes_.back().get()] = nodes_.back()->endpoint().address;
    return *nodes_.back();
  }
  void kill(NetworkNode& node, const std::function<void()>& last) override { static_cast<RealNode&>(node).end(last); }
  Endpoint nobody() override {
    NetworkNode& node = add_node(nullptr);
    kill(node, [] {});
    return {endpoints_.at(&node)};
  }
  std::function<void()> freeze(NetworkNode& node) override {
    auto thaw = std::make_shared<std::promise<void>>();
    node.loop().post([thaw] { thaw->get_future().wait(); });
    return [thaw] { thaw->set_value(); };
  }
  bool wait_until(NetworkNode& node, const std::function<bool()>& predicate) override {
    const auto end = std::chrono::steady_clock::now() + kPatience;
    bool holds = false;
    while (!holds && std::chrono::steady_clock::now() < end) {
      node.run([&] { holds = predicate(); });
      if (!holds) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return holds;
  }

 protected:
  virtual std::string any_address() = 0;
  virtual std::unique_ptr<Network> open(const std::string& address, TaskLoop& loop) = 0;

 private:
  std::map<NetworkNode*, std::string> endpoints_;
  std::vector<std::unique_ptr<RealNode>> nodes_;
};

class ZeroMqStage final : public RealStage {
 protected:
  std::string any_address() override { return "127.0.0.1:0"; }
  std::unique_ptr<Network> open(const std::string& address, TaskLoop& loop) override {
    ZeroMqOptions options;
    options.listen = address;
    options.max_queued_bytes = 80u << 20;
    options.max_arrived_bytes = 80u << 20;
    auto opened = ZeroMqNetwork::open(options, loop);
    CHECK(opened.has_value()) << opened.error();
    return std::move(*opened);
  }
};

class LocalStage final : public RealStage {
 protected:
  std::string any_address() override { return "node-" + std::to_string(++names_); }
  std::unique_ptr<Network> open(const std::string& address, TaskLoop& loop) override {
    return std::make_unique<LocalNetwork>(switch_, address, loop);
  }

 private:
  const std::shared_ptr<LocalSwitch> switch_ = make_local_switch();
  int names_ = 0;
};

}  // namespace

std::vector<StageKind> stage_kinds() {
  return {{"Simulated", [] { return std::make_unique<SimStage>(); }},
          {"ZeroMq", [] { return std::make_unique<ZeroMqStage>(); }},
          {"Local", [] { return std::make_unique<LocalStage>(); }}};
}

}  // namespace millrace
