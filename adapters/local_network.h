// LocalNetwork: the Network between roles that share one process. Frames go from loop to loop; nothing is copied, no
// port is opened, and a link breaks only when the network at its other end is gone.
//
// Bounds: frames and bytes of a link that its receiver has not handled yet (then send() is false).
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <string>

#include "common/seams/network.h"
#include "common/seams/task_loop.h"

namespace millrace {

// Who listens under which name. Thread-safe; shared by the networks of a process.
class LocalSwitch;
std::shared_ptr<LocalSwitch> make_local_switch();

// Made, used and destroyed on its loop (made before the loop starts is fine too).
class LocalNetwork final : public Network {
 public:
  static constexpr size_t kMaxFrames = 10'000;
  static constexpr size_t kMaxBytes = 256 << 20;  // one frame may always go

  // `name`: its endpoint, which nobody else may have at the time.
  LocalNetwork(std::shared_ptr<LocalSwitch> local_switch, std::string name, TaskLoop& loop);
  ~LocalNetwork() override;
  LocalNetwork(const LocalNetwork&) = delete;
  LocalNetwork& operator=(const LocalNetwork&) = delete;

  [[nodiscard]] Endpoint local_endpoint() const override;
  void set_handler(NetworkHandler* handler) override { handler_ = handler; }
  LinkId connect(const Endpoint& to) override;
  bool send(LinkId link, Frame frame) override;
  void disconnect(LinkId link) override;

 private:
  friend class LocalSwitch;
  struct Node;
  struct Link;

  void attempt(const std::shared_ptr<Link>& link);
  void lose(LinkId link, const std::string& reason);
  void deliver(const std::shared_ptr<Link>& link, Frame frame);

  // Constant after construction.
  const std::shared_ptr<LocalSwitch> switch_;
  const std::shared_ptr<Node> node_;

  // Owned by the loop.
  NetworkHandler* handler_ = nullptr;
  std::map<LinkId, std::shared_ptr<Link>> links_;
  LinkId next_link_{1};
};

}  // namespace millrace
