#include "adapters/table_sink.h"

#include <algorithm>
#include <charconv>
#include <string_view>

namespace millrace {

void ResultTable::publish(const SinkIdentity& identity, Publication publication) {
  for (size_t table = tables_.size(); table < identity.layout.size(); ++table) {
    tables_.push_back({identity.layout[table], {}, {}});
  }
  open_.push_back(std::move(publication));
}

void ResultTable::end_round(RoundEnd end) {
  // A round that was given up is in these too: what it brought is older, and overwritten by what follows.
  for (Publication& publication : open_) {
    for (Table& table : tables_) {
      if (publication.full) table.values[publication.partition].clear();
    }
    for (SinkEntry& entry : publication.entries) {
      if (entry.is_member()) continue;  // nobody looks at them here
      Values& values = tables_[entry.table].values[publication.partition];
      if (entry.removed) {
        values.erase(entry.key);
      } else {
        values.insert_or_assign(std::move(entry.key), Value{std::move(entry.text), entry.score});
      }
    }
  }
  open_.clear();
  for (auto& [table, rank] : end.ranks) tables_[table].rank = std::move(rank);
  status_ = std::move(end.status);
  if (changed_) changed_();
}

// "0:17,1:23", or "orders:0:17,payments:0:23"
std::map<std::string, Offset> ResultTable::offsets() const {
  std::map<std::string, Offset> offsets;
  const auto field = status_.find("offsets");
  if (field == status_.end()) return offsets;
  std::string_view left = field->second;
  while (!left.empty()) {
    const std::string_view part = left.substr(0, left.find(','));
    left.remove_prefix(std::min(part.size() + 1, left.size()));
    const size_t colon = part.rfind(':');
    int64_t offset = 0;
    std::from_chars(part.data() + colon + 1, part.data() + part.size(), offset);
    offsets[std::string(part.substr(0, colon))] = Offset(offset);
  }
  return offsets;
}

const ResultTable::Table& ResultTable::find(const std::string& name) const {
  static const Table kNone;
  const auto found =
      std::ranges::find_if(tables_, [&name](const Table& table) { return name.empty() || table.plan.name == name; });
  return found == tables_.end() ? kNone : *found;
}

bool ResultTable::has_rank(const std::string& table) const {
  return !find(table).plan.rank.empty();
}

const std::vector<SinkEntry>& ResultTable::rank(const std::string& table) const {
  return find(table).rank;
}

std::vector<const ResultTable::Entry*> ResultTable::entries(const std::string& table) const {
  const auto& by_partition = find(table).values;
  size_t size = 0;
  for (const auto& [partition, values] : by_partition) size += values.size();
  std::vector<const Entry*> all;
  all.reserve(size);
  for (const auto& [partition, values] : by_partition) {
    for (const Entry& entry : values) all.push_back(&entry);
  }
  return all;
}

template <typename T>
void TableSink::answer(T result, std::move_only_function<void(T)> done) {
  loop_.post([weak = std::weak_ptr(alive_), result = std::move(result), done = std::move(done)]() mutable {
    if (!weak.expired()) done(std::move(result));
  });
}

void TableSink::claim(SinkIdentity identity, bool take_over, std::move_only_function<void(Status)> done) {
  if (next_ != nullptr) return next_->claim(std::move(identity), take_over, std::move(done));
  answer(Status(), std::move(done));
}

void TableSink::purge(SinkIdentity identity, std::move_only_function<void(Status)> done) {
  if (next_ != nullptr) return next_->purge(std::move(identity), std::move(done));
  answer(Status(), std::move(done));
}

void TableSink::publish(SinkIdentity identity, Publication publication,
                        std::move_only_function<void(Result<PublishOutcome>)> done) {
  if (next_ == nullptr) {
    table_->publish(identity, std::move(publication));
    return answer(Result<PublishOutcome>(PublishOutcome::kDone), std::move(done));
  }
  // What the other sink does not take is published again.
  next_->publish(identity, publication,
                 [weak = std::weak_ptr(alive_), table = table_, identity, publication,
                  done = std::move(done)](Result<PublishOutcome> outcome) mutable {
                   if (weak.expired()) return;
                   if (outcome == PublishOutcome::kDone) table->publish(identity, std::move(publication));
                   done(std::move(outcome));
                 });
}

void TableSink::end_round(SinkIdentity identity, RoundEnd end,
                          std::move_only_function<void(Result<PublishOutcome>)> done) {
  if (next_ == nullptr) {
    table_->end_round(std::move(end));
    return answer(Result<PublishOutcome>(PublishOutcome::kDone), std::move(done));
  }
  // Its round ends here when it has ended there.
  next_->end_round(std::move(identity), end,
                   [weak = std::weak_ptr(alive_), table = table_, end,
                    done = std::move(done)](Result<PublishOutcome> outcome) mutable {
                     if (weak.expired()) return;
                     if (outcome == PublishOutcome::kDone) table->end_round(std::move(end));
                     done(std::move(outcome));
                   });
}

}  // namespace millrace
