#include "adapters/embedded_log_producers.h"

#include <xxhash.h>

#include <algorithm>

#include "common/base/byte_order.h"

namespace millrace {
namespace {

constexpr uint32_t kProducersMagic = 0x504C524D;  // "MRLP"
constexpr uint32_t kProducersVersion = 1;

void put(std::string& out, int64_t value) {
  char bytes[sizeof value];
  store_little(bytes, value);
  out.append(bytes, sizeof bytes);
}

// Takes integers from the front; `good` turns false when there are none left.
struct Taker {
  std::string_view rest;
  bool good = true;

  int64_t take() {
    if (rest.size() < sizeof(int64_t)) {
      good = false;
      return 0;
    }
    const auto value = load_little<int64_t>(rest.data());
    rest.remove_prefix(sizeof value);
    return value;
  }
};

}  // namespace

ProducerStamp ProducerTable::stamp(const AppendIdentity& identity) {
  if (identity.producer_id == 0) return {};
  return {identity.producer_id, static_cast<int16_t>(identity.sequence >> 31),
          static_cast<int32_t>(identity.sequence & INT32_MAX)};
}

AppendIdentity ProducerTable::identity(const RecordBatchView& batch) {
  if (batch.producer_id() <= 0 || batch.producer_epoch() < 0 || batch.base_sequence() < 0) return {};
  return {batch.producer_id(), (int64_t{batch.producer_epoch()} << 31) | batch.base_sequence()};
}

Result<std::optional<OffsetRange>> ProducerTable::find(const AppendIdentity& identity) const {
  const auto producer = producers_.find(identity.producer_id);
  if (producer == producers_.end() || producer->second.appends.back().sequence < identity.sequence) {
    return std::nullopt;
  }
  const auto& appends = producer->second.appends;
  const auto append = std::ranges::lower_bound(appends, identity.sequence, {}, &Append::sequence);
  if (append != appends.end() && append->sequence == identity.sequence) return append->range;
  return fail(ErrorCode::kInvalid,
              "append " + std::to_string(identity.sequence) + " of producer " + std::to_string(identity.producer_id) +
                  " is older than those remembered (newest " + std::to_string(appends.back().sequence) +
                  "); number appends in ascending order");
}

void ProducerTable::remember(const AppendIdentity& identity, OffsetRange range) {
  auto& [appends, newest] = producers_[identity.producer_id];
  if (!appends.empty()) by_newest_.erase(newest);
  appends.insert(std::ranges::upper_bound(appends, identity.sequence, {}, &Append::sequence),
                 Append{identity.sequence, range});
  if (appends.size() > kAppendsEach) appends.pop_front();
  newest = std::max(newest, range.to);  // a saved table is in the order of the sequences
  by_newest_[newest] = identity.producer_id;
  if (producers_.size() > kMostProducers) {
    producers_.erase(by_newest_.begin()->second);
    by_newest_.erase(by_newest_.begin());
  }
}

std::string ProducerTable::encode() const {
  std::string out;
  put(out, kProducersMagic | (int64_t{kProducersVersion} << 32));
  put(out, static_cast<int64_t>(producers_.size()));
  for (const auto& [newest, producer] : by_newest_) {
    const auto& appends = producers_.at(producer).appends;
    put(out, producer);
    put(out, static_cast<int64_t>(appends.size()));
    for (const Append& append : appends) {
      put(out, append.sequence);
      put(out, append.range.from.value());
      put(out, append.range.to.value());
    }
  }
  put(out, static_cast<int64_t>(XXH3_64bits(out.data(), out.size())));
  return out;
}

Result<ProducerTable> ProducerTable::decode(std::string_view bytes) {
  const auto corrupt = fail(ErrorCode::kCorrupt, "a saved table of producers does not parse");
  if (bytes.size() < 3 * sizeof(int64_t)) return corrupt;
  const std::string_view covered = bytes.substr(0, bytes.size() - sizeof(uint64_t));
  if (load_little<uint64_t>(bytes.data() + covered.size()) != XXH3_64bits(covered.data(), covered.size()))
    return corrupt;
  Taker taker{covered};
  if (taker.take() != (kProducersMagic | (int64_t{kProducersVersion} << 32))) return corrupt;
  ProducerTable table;
  for (int64_t left = taker.take(); left > 0 && taker.good; --left) {
    const int64_t producer = taker.take();
    for (int64_t appends = taker.take(); appends > 0 && taker.good; --appends) {
      const int64_t sequence = taker.take();
      const Offset from(taker.take());
      const Offset to(taker.take());
      if (taker.good) table.remember({producer, sequence}, {from, to});
    }
  }
  if (!taker.good || !taker.rest.empty()) return corrupt;
  return table;
}

}  // namespace millrace
