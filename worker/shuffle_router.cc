#include "worker/shuffle_router.h"

#include <algorithm>

#include "common/base/check.h"
#include "common/wire/codec.h"

namespace millrace {
namespace {

Stamp stamp_of(const wire::Header& header) {
  return {Epoch(header.epoch), Generation(header.generation)};
}

RankShare share_of(BatchId batch, const wire::RankCandidates& candidates) {
  RankShare share;
  share.batch = batch;
  share.table = static_cast<size_t>(candidates.table);
  for (int32_t partition : candidates.partitions) share.partitions.push_back(StatePartition(partition));
  for (const wire::RankEntry& entry : candidates.entries) {
    share.entries.push_back({.key = entry.key, .text = entry.text, .score = entry.score});
  }
  return share;
}

}  // namespace

void ShuffleRouter::assign(const wire::Assign& assign, Stamp stamp, bool new_epoch) {
  stamp_ = stamp;
  if (new_epoch) epoch_durable_ = BatchId(assign.durable);
  rank_owner_ = process_of(assign.rank_owner);
  owned_.clear();
  for (const wire::StateOwner& owner : assign.states) {
    owned_[process_of(owner.process)].push_back(StatePartition(owner.partition));
  }
  for (auto& [process, partitions] : owned_) std::ranges::sort(partitions);
  level_bytes_.clear();  // what begins anew sends its blocks anew
  update_peers(assign.peers);
}

void ShuffleRouter::update_peers(const std::vector<wire::Peer>& peers) {
  std::map<ProcessId, Endpoint> now;
  for (const wire::Peer& peer : peers) {
    const ProcessId process(static_cast<uint64_t>(peer.process));
    if (process != messenger_.self()) now[process] = Endpoint{peer.endpoint};
  }
  for (const auto& [process, endpoint] : peers_) {
    if (now.contains(process)) continue;
    messenger_.abandon(endpoint);
    messenger_.forget(process);
    unsent_.erase(process);
    unreachable_since_.erase(process);
  }
  for (const auto& [process, endpoint] : now) {
    if (!peers_.contains(process)) messenger_.connect(endpoint);
  }
  peers_ = std::move(now);
  // Only now: what waited may be for partitions that this assignment gave to us.
  std::deque<Message> early;
  early.swap(early_);
  for (Message& message : early) {
    if (stamp_of(message.envelope.header) > stamp_) {
      early_.push_back(std::move(message));
    } else {
      accept(message.envelope, message.bulk);
    }
  }
}

void ShuffleRouter::route(Stamp stamp, const MappedRange& mapped) {
  if (mapped.block == nullptr || is_void(stamp, mapped.block->batch)) return;
  for (const auto& [process, owned] : owned_) {
    std::vector<StatePartition> partitions;
    if (mapped.only) {
      std::ranges::set_intersection(owned, *mapped.only, std::back_inserter(partitions));
    } else {
      partitions = owned;
    }
    if (partitions.empty()) continue;
    if (process == messenger_.self()) {
      hooks_.deliver_block(mapped.block);
      continue;
    }
    if (!peers_.contains(process)) continue;
    wire::Envelope envelope;
    envelope.header = hooks_.header(mapped.block->batch);
    envelope.body.__set_shuffle(wire::Shuffle());
    send(process, std::move(envelope), encode_shuffle_block(select_sections(*mapped.block, partitions)));
  }
}

void ShuffleRouter::route(const LevelBlocks& blocks) {
  for (const auto& [process, owned] : owned_) {
    if (process == messenger_.self()) {
      hooks_.deliver_levels(blocks);
    } else if (peers_.contains(process)) {
      send_levels(process, owned, blocks);
    }
  }
}

void ShuffleRouter::send_levels(ProcessId to, const std::vector<StatePartition>& partitions,
                                const LevelBlocks& blocks) {
  wire::Shuffle shuffle;
  std::string bulk;
  const auto flush = [&] {
    wire::Envelope envelope;
    envelope.header = hooks_.header(blocks.front()->batch);
    envelope.body.__set_shuffle(std::exchange(shuffle, {}));
    send(to, std::move(envelope), SharedBuffer::of(std::exchange(bulk, {})));
  };
  for (const auto& block : blocks) {
    const ShuffleBlock selected = shuffle_block_of(*block, partitions);
    if (!count_level_bytes(to, *block, selected.bytes())) return;
    const SharedBuffer encoded = encode_shuffle_block(selected);
    shuffle.__isset.levels = true;
    shuffle.levels.push_back(static_cast<int64_t>(encoded.size()));
    bulk.append(encoded.view());
    if (bulk.size() >= kLevelMessage) flush();
  }
  if (!bulk.empty()) flush();
}

bool ShuffleRouter::count_level_bytes(ProcessId to, const LevelBlock& block, size_t bytes) {
  // Nobody sends anything of an earlier batch any more.
  level_bytes_.erase(level_bytes_.begin(), level_bytes_.lower_bound({block.batch.previous(), 0, ProcessId(0)}));
  size_t& sent = level_bytes_[{block.batch, block.level, to}];
  sent += bytes;
  if (sent <= kMaxLevel) return true;
  hooks_.failed(
      {ErrorCode::kInvalid, "what comes out of level " + std::to_string(block.level) + " of batch " +
                                std::to_string(block.batch.value()) + " for one worker has more than " +
                                std::to_string(kMaxLevel >> 20) +
                                " MiB; go back to an earlier checkpoint with more workers, or with a job of which "
                                "less changes at once"});
  return false;
}

void ShuffleRouter::route(const RankShare& share) {
  if (rank_owner_ == messenger_.self()) {
    hooks_.deliver_rank(share);
    return;
  }
  if (!peers_.contains(rank_owner_)) return;
  wire::RankCandidates candidates;
  candidates.table = static_cast<int32_t>(share.table);
  size_t bytes = 0;
  for (StatePartition partition : share.partitions) candidates.partitions.push_back(partition.value());
  for (const SinkEntry& entry : share.entries) {
    wire::RankEntry told;
    told.key = entry.key;
    told.text = entry.text;
    told.score = entry.score;
    bytes += told.key.size() + told.text.size() + sizeof(told.score);
    candidates.entries.push_back(std::move(told));
  }
  if (bytes > kMaxRank) {
    hooks_.failed({ErrorCode::kInvalid, "the " + std::to_string(share.entries.size()) + " highest keys of batch " +
                                            std::to_string(share.batch.value()) + " have " + std::to_string(bytes) +
                                            " bytes, and a rank at most " + std::to_string(kMaxRank) +
                                            "; submit the job with a lower --max-record-bytes"});
    return;
  }
  wire::Envelope envelope;
  envelope.header = hooks_.header(share.batch);
  SharedBuffer bulk;
  if (bytes > kMaxInlineRank) {
    bulk = SharedBuffer::of(encode_record(candidates));
    candidates = {};
  }
  envelope.body.__set_rank_candidates(candidates);
  send(rank_owner_, std::move(envelope), std::move(bulk));
}

void ShuffleRouter::send(ProcessId to, wire::Envelope envelope, SharedBuffer bulk) {
  std::deque<Message>& unsent = unsent_[to];
  if (unsent.empty() && messenger_.send(to, envelope, bulk)) return;
  if (unsent.size() >= kMaxUnsent) {
    LOG_EVERY_N(ERROR, 1000) << "executor " << to_string(to) << " cannot be reached; its oldest message is dropped";
    unsent.pop_front();
  }
  unsent.push_back({std::move(envelope), std::move(bulk)});
}

void ShuffleRouter::peer_up(ProcessId peer) {
  const auto waiting = unsent_.find(peer);
  if (waiting == unsent_.end()) return;
  std::deque<Message>& unsent = waiting->second;
  while (!unsent.empty() && messenger_.send(peer, unsent.front().envelope, unsent.front().bulk)) unsent.pop_front();
}

std::vector<ProcessId> ShuffleRouter::unreachable_for(Duration least, MonotonicTime now) {
  std::vector<ProcessId> found;
  for (const auto& [process, endpoint] : peers_) {
    if (messenger_.is_reachable(process)) {
      unreachable_since_.erase(process);
    } else if (now - unreachable_since_.try_emplace(process, now).first->second >= least) {
      found.push_back(process);
    }
  }
  return found;
}

void ShuffleRouter::receive(const PeerInfo& from, wire::Envelope envelope, const SharedBuffer& bulk) {
  if (stamp_of(envelope.header) <= stamp_) {
    accept(envelope, bulk);
    return;
  }
  if (early_.size() >= kMaxEarly) {
    LOG_EVERY_N(ERROR, 1000) << "executor " << to_string(from.process)
                             << " follows an assignment that has not come here; a message of it is dropped";
    early_.pop_front();
  }
  early_.push_back({std::move(envelope), bulk});
}

void ShuffleRouter::accept(const wire::Envelope& envelope, const SharedBuffer& bulk) {
  const BatchId batch(envelope.header.batch);
  if (is_void(stamp_of(envelope.header), batch)) return;
  if (envelope.body.__isset.rank_candidates) {
    if (bulk.empty()) {
      hooks_.deliver_rank(share_of(batch, envelope.body.rank_candidates));
    } else if (const auto candidates = decode_record<wire::RankCandidates>(bulk.view())) {
      hooks_.deliver_rank(share_of(batch, *candidates));
    } else {
      LOG(ERROR) << "a message is dropped: " << candidates.error();
    }
    return;
  }
  if (envelope.body.shuffle.__isset.levels) return accept_levels(envelope.body.shuffle, bulk);
  Result<ShuffleBlock> block = decode_shuffle_block(bulk);
  if (!block) {
    LOG(ERROR) << "a message is dropped: " << block.error();
    return;
  }
  hooks_.deliver_block(std::make_shared<const ShuffleBlock>(std::move(*block)));
}

void ShuffleRouter::accept_levels(const wire::Shuffle& shuffle, const SharedBuffer& bulk) {
  LevelBlocks blocks;
  size_t from = 0;
  for (const int64_t told : shuffle.levels) {
    const size_t size = std::min(static_cast<size_t>(std::max<int64_t>(told, 0)), bulk.size() - from);
    Result<ShuffleBlock> block = decode_shuffle_block(bulk.slice(from, size));
    if (!block) {
      LOG(ERROR) << "a message is dropped: " << block.error();
      return;
    }
    blocks.push_back(std::make_shared<const LevelBlock>(level_block_of(std::move(*block))));
    from += size;
  }
  hooks_.deliver_levels(blocks);
}

}  // namespace millrace
