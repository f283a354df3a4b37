#include "adapters/local_network.h"

#include <atomic>
#include <mutex>
#include <utility>
#include <vector>

#include "common/base/check.h"

namespace millrace {

// What others hold of a network: it may be gone.
struct LocalNetwork::Node {
  Node(std::string its_name, TaskLoop& its_loop, LocalNetwork* its_network)
      : name(std::move(its_name)), network(its_network), loop_(&its_loop) {}

  // Runs `task(network)` on its loop, if it is still there then.
  template <typename Task>
  static void post(const std::shared_ptr<Node>& node, Task task) {
    const std::scoped_lock lock(node->mutex_);
    if (node->loop_ == nullptr) return;
    node->loop_->post([node, task = std::move(task)]() mutable {
      if (node->network != nullptr) task(*node->network);
    });
  }
  void end() {
    network = nullptr;
    const std::scoped_lock lock(mutex_);
    loop_ = nullptr;
  }

  const std::string name;
  LocalNetwork* network;  // the loop's: null once it is gone

 private:
  std::mutex mutex_;
  TaskLoop* loop_;  // null once the network is gone
};

struct LocalNetwork::Link {
  Link(LinkId its_id, std::string its_address, std::shared_ptr<Node> its_sender)
      : id(its_id), address(std::move(its_address)), sender(std::move(its_sender)) {}

  const LinkId id;
  const std::string address;
  const std::shared_ptr<Node> sender;

  // The sender's loop's.
  std::shared_ptr<Node> receiver;  // once it is up
  std::vector<Frame> waiting;      // sent before that

  // On their way, or waiting.
  std::atomic<size_t> frames{0};
  std::atomic<size_t> bytes{0};
};

class LocalSwitch {
 public:
  using Node = LocalNetwork::Node;
  using Link = LocalNetwork::Link;

  void listen(const std::shared_ptr<Node>& node) {
    const std::scoped_lock lock(mutex_);
    CHECK(nodes_.emplace(node->name, Listener{node, {}}).second) << node->name << " is taken";
  }

  // Null: nobody listens there.
  std::shared_ptr<Node> connect(const std::shared_ptr<Link>& link) {
    const std::scoped_lock lock(mutex_);
    const auto found = nodes_.find(link->address);
    if (found == nodes_.end()) return nullptr;
    std::erase_if(found->second.links, [](const auto& weak) { return weak.expired(); });
    found->second.links.push_back(link);
    return found->second.node;
  }

  // Whoever has a link to it is told.
  void end(const std::shared_ptr<Node>& node) {
    const std::scoped_lock lock(mutex_);
    auto left = nodes_.extract(node->name);
    node->end();
    for (const auto& weak : left.mapped().links) {
      const auto link = weak.lock();
      if (link == nullptr) continue;
      Node::post(link->sender,
                 [id = link->id](LocalNetwork& network) { network.lose(id, "the other side has ended"); });
    }
  }

 private:
  struct Listener {
    std::shared_ptr<Node> node;
    std::vector<std::weak_ptr<Link>> links;  // that lead to it
  };
  std::mutex mutex_;
  std::map<std::string, Listener> nodes_;
};

std::shared_ptr<LocalSwitch> make_local_switch() {
  return std::make_shared<LocalSwitch>();
}

LocalNetwork::LocalNetwork(std::shared_ptr<LocalSwitch> local_switch, std::string name, TaskLoop& loop)
    : switch_(std::move(local_switch)), node_(std::make_shared<Node>(std::move(name), loop, this)) {
  switch_->listen(node_);
}

LocalNetwork::~LocalNetwork() {
  switch_->end(node_);
}

Endpoint LocalNetwork::local_endpoint() const {
  return {node_->name};
}

LinkId LocalNetwork::connect(const Endpoint& to) {
  auto link = std::make_shared<Link>(next_link_, to.address, node_);
  next_link_ = next_link_.next();
  links_.emplace(link->id, link);
  Node::post(node_, [link](LocalNetwork& network) { network.attempt(link); });
  return link->id;
}

void LocalNetwork::attempt(const std::shared_ptr<Link>& link) {
  if (!links_.contains(link->id)) return;  // disconnected
  link->receiver = switch_->connect(link);
  if (link->receiver == nullptr) return lose(link->id, "nobody listens as " + link->address);
  for (Frame& frame : std::exchange(link->waiting, {})) deliver(link, std::move(frame));
  if (handler_ != nullptr) handler_->on_link_up(link->id);
}

void LocalNetwork::lose(LinkId link, const std::string& reason) {
  if (links_.erase(link) > 0 && handler_ != nullptr) handler_->on_link_down(link, reason);
}

bool LocalNetwork::send(LinkId id, Frame frame) {
  const auto found = links_.find(id);
  if (found == links_.end()) return false;
  const std::shared_ptr<Link> link = found->second;
  const size_t size = frame.control.size() + frame.bulk.size();
  const size_t frames = link->frames.load();
  if (frames >= kMaxFrames || (frames > 0 && link->bytes.load() + size > kMaxBytes)) return false;
  ++link->frames;
  link->bytes += size;
  if (link->receiver == nullptr) {
    link->waiting.push_back(std::move(frame));
  } else {
    deliver(link, std::move(frame));
  }
  return true;
}

void LocalNetwork::deliver(const std::shared_ptr<Link>& link, Frame frame) {
  Node::post(link->receiver, [link, frame = std::move(frame)](LocalNetwork& network) mutable {
    --link->frames;
    link->bytes -= frame.control.size() + frame.bulk.size();
    if (network.handler_ != nullptr) network.handler_->on_frame(std::move(frame), link->sender->name);
  });
}

void LocalNetwork::disconnect(LinkId link) {
  links_.erase(link);
}

}  // namespace millrace
