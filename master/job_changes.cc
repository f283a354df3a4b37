// JobController: what changed, for readers that follow it.
#include <utility>

#include "common/wire/codec.h"
#include "master/job_controller.h"

namespace millrace {

void JobController::on_round_changes(ProcessId from, BatchId batch, wire::RoundChanges changes) {
  for (wire::ChangedPartition& part : changes.partitions) {
    if (is_current(from, part.partition, part.generation)) changes_.add(batch, std::move(part));
  }
}

void JobController::changes(const api::ChangesRequest& request,
                            std::move_only_function<void(Result<api::Changes>)> done) {
  // Of a former job of this name, or of a former incarnation, nothing leads here.
  const bool of_this = request.after.job_id == to_string(job_) && request.after.incarnation == record_.incarnation;
  const auto position = of_this ? std::optional(BatchId(request.after.batch)) : std::nullopt;
  const Result<size_t> table = find_table(request.table, WantedTable::kAny);
  if (!table.has_value()) {
    // The last changes before a stop come to whoever was not waiting just then.
    const auto known = millrace::find_table(layout_, request.table, WantedTable::kAny, "");
    const auto last = known.has_value() && of_this ? changes_.tell(position) : std::nullopt;
    return done(last ? changes_of(*known, *last) : std::unexpected(table.error()));
  }
  changes_.follow(position, published_, round_.has_value(), std::chrono::milliseconds(request.wait_ms),
                  lifetime_.guard([this, table = *table, done = std::move(done)](auto answer) mutable {
                    if (!answer.has_value()) return done(std::unexpected(answer.error()));
                    done(changes_of(table, *answer));
                  }));
}

Result<api::Changes> JobController::changes_of(size_t table, const ChangeFeed::Answer& answer) const {
  api::Changes told;
  told.position = as_of(answer.position);
  told.reset = answer.reset;
  if (layout_.size() > 1) told.table = layout_[table].name;
  for (const ChangeFeed::Round& round : answer.rounds) {
    api::BatchChanges& batch = told.batches.emplace_back();
    batch.as_of = as_of(round.batch);
    for (const std::string& part : round.parts) {
      Result<wire::ChangedKeys> changed = decode_record<wire::ChangedKeys>(part);
      if (!changed.has_value()) return std::unexpected(changed.error());
      for (wire::ChangedKey& key : changed->keys) {
        if (static_cast<size_t>(key.table) != table) continue;
        api::Change& change = batch.changes.emplace_back();
        change.key = std::move(key.key);
        change.text = std::move(key.text);
        change.removed = key.removed;
      }
    }
  }
  return told;
}

}  // namespace millrace
