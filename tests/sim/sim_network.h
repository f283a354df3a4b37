// SimNetwork: the Network of one simulated process. A link is bound to the process that listened when it was made;
// frames take random time, in order without faults, and with faults are lost, repeated, reordered, slow, or break
// their link. See World.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "common/seams/network.h"
#include "tests/sim/world.h"

namespace millrace {

class SimNetwork final : public Network {
 public:
  // Bounds of the frames on their way over one link.
  static constexpr size_t kMaxFrames = 10'000;
  static constexpr size_t kMaxBytes = 256 << 20;  // one frame may always go

  SimNetwork(World& world, SimProcess& process, SimLoop& loop);

  [[nodiscard]] Endpoint local_endpoint() const override;
  void set_handler(NetworkHandler* handler) override { handler_ = handler; }
  LinkId connect(const Endpoint& to) override;
  bool send(LinkId link, Frame frame) override;
  void disconnect(LinkId link) override;

  // For World: a process died, or a cut was made; links to it break where that is noticed.
  void on_crash_of(const SimProcess& process);
  void on_cut();

 private:
  struct Link;
  using LinkPointer = std::shared_ptr<Link>;

  void attempt(const LinkPointer& link);
  void break_link(const LinkPointer& link, Duration notice, const std::string& reason);
  void launch(const LinkPointer& link, const Frame& frame, bool repeated);
  void arrive(const LinkPointer& link, const Frame& frame);
  [[nodiscard]] bool cut_from(const Link& link) const;
  [[nodiscard]] Duration latency();

  World& world_;
  SimProcess& process_;
  SimLoop& loop_;
  SimRandom& random_;
  NetworkHandler* handler_ = nullptr;
  std::map<LinkId, LinkPointer> links_;
  LinkId next_link_{1};
};

}  // namespace millrace
