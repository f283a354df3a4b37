// ShuffleRouter: knows who owns what by the newest assignment, and takes what was mapped to the owners of the state
// partitions: to the lanes of this process by pointer, to other executors in one message each. The same for rank
// candidates.
//
// What a peer sends under a newer assignment waits until that assignment is here; what it sent under an older epoch
// about batches that the present one plans anew is dropped. Lives on the executor's loop.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <tuple>
#include <vector>

#include "common/runtime/messenger.h"
#include "worker/lane_messages.h"

namespace millrace {

class ShuffleRouter {
 public:
  static constexpr size_t kMaxEarly = 20'000;        // messages of newer assignments
  static constexpr size_t kMaxUnsent = 20'000;       // messages to one peer whose session is not up yet
  static constexpr size_t kMaxInlineRank = 1 << 20;  // bytes of rank candidates; more go in the bulk frame
  static constexpr size_t kMaxRank = 48 << 20;       // bytes of rank candidates that can be sent at all
  static constexpr size_t kLevelMessage = 8 << 20;   // bytes of level blocks after which a message is full
  // Bytes of the blocks of one level of a batch to one executor. Those of two levels, one behind the other, have to be
  // within what a session keeps unacknowledged.
  static constexpr size_t kMaxLevel = 96 << 20;

  struct Hooks {
    std::function<void(std::shared_ptr<const ShuffleBlock>)> deliver_block;  // to the lanes that own its partitions
    std::function<void(const LevelBlocks&)> deliver_levels;                  // to all lanes
    std::function<void(RankShare)> deliver_rank;
    std::function<wire::Header(BatchId)> header;
    std::function<void(Error)> failed;  // the job cannot go on
  };

  ShuffleRouter(Messenger& messenger, Hooks hooks) : messenger_(messenger), hooks_(std::move(hooks)) {}

  void assign(const wire::Assign& assign, Stamp stamp, bool new_epoch);
  void route(Stamp stamp, const MappedRange& mapped);
  void route(const LevelBlocks& blocks);
  void route(const RankShare& share);
  // Blocks and rank candidates of other executors.
  void receive(const PeerInfo& from, wire::Envelope envelope, const SharedBuffer& bulk);
  void peer_up(ProcessId peer);
  // Peers that no link has led to for at least this long, as far as is known by asking often.
  std::vector<ProcessId> unreachable_for(Duration least, MonotonicTime now);

  [[nodiscard]] const Stamp& stamp() const { return stamp_; }
  [[nodiscard]] ProcessId rank_owner() const { return rank_owner_; }
  // Made under an older epoch about a batch that this epoch plans anew.
  [[nodiscard]] bool is_void(Stamp stamp, BatchId batch) const {
    return stamp.epoch < stamp_.epoch && batch > epoch_durable_;
  }

 private:
  struct Message {
    wire::Envelope envelope;
    SharedBuffer bulk;
  };
  void update_peers(const std::vector<wire::Peer>& peers);
  void send(ProcessId to, wire::Envelope envelope, SharedBuffer bulk);
  void accept(const wire::Envelope& envelope, const SharedBuffer& bulk);
  void accept_levels(const wire::Shuffle& shuffle, const SharedBuffer& bulk);
  void send_levels(ProcessId to, const std::vector<StatePartition>& partitions, const LevelBlocks& blocks);
  // False: it is more than one level may have.
  bool count_level_bytes(ProcessId to, const LevelBlock& block, size_t bytes);

  // Constant after construction.
  Messenger& messenger_;  // outlives this
  const Hooks hooks_;

  // Owned by the loop.
  Stamp stamp_;
  BatchId epoch_durable_;  // at the first assignment of the epoch
  ProcessId rank_owner_;
  std::map<ProcessId, std::vector<StatePartition>> owned_;  // ascending
  std::map<ProcessId, Endpoint> peers_;
  std::map<ProcessId, MonotonicTime> unreachable_since_;
  std::map<ProcessId, std::deque<Message>> unsent_;
  std::deque<Message> early_;
  std::map<std::tuple<BatchId, int32_t, ProcessId>, size_t> level_bytes_;  // by batch, level and receiver
};

}  // namespace millrace
