// NetworkStage: where the conformance tests of the network play: nodes with a loop and a Network, on the simulated
// world, on ZeroMQ over loopback, or within one process. A test is written once and runs on each.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/seams/network.h"
#include "common/seams/task_loop.h"

namespace millrace {

// A process: one loop and one network on it.
class NetworkNode {
 public:
  virtual ~NetworkNode() = default;
  virtual Network& network() = 0;
  virtual TaskLoop& loop() = 0;
  // Runs on the node's loop and returns when it is done.
  virtual void run(const std::function<void()>& action) = 0;
  [[nodiscard]] Endpoint endpoint();
};

class NetworkStage {
 public:
  virtual ~NetworkStage() = default;
  // `like`: takes the endpoint of that node, which was killed.
  virtual NetworkNode& add_node(NetworkNode* like = nullptr) = 0;
  // It dies, with its network; `last` runs on its loop just before (to end what lives on it).
  virtual void kill(NetworkNode& node, const std::function<void()>& last = [] {}) = 0;
  // Where nobody listens.
  virtual Endpoint nobody() = 0;
  // Keeps a node's loop busy until the function that it returns is called.
  virtual std::function<void()> freeze(NetworkNode& node) = 0;
  // Waits until the predicate holds; it is asked on no loop, between tasks of the nodes that it names. False: too late.
  virtual bool wait_until(NetworkNode& node, const std::function<bool()>& predicate) = 0;
};

using MakeStage = std::function<std::unique_ptr<NetworkStage>()>;
struct StageKind {
  std::string name;
  MakeStage make;
};
std::vector<StageKind> stage_kinds();

// A test on each kind of stage.
class OnEveryStage : public testing::TestWithParam<StageKind> {
 protected:
  std::unique_ptr<NetworkStage> stage_ = GetParam().make();
};
inline std::string name_of_stage(const testing::TestParamInfo<StageKind>& info) {
  return info.param.name;
}

}  // namespace millrace
