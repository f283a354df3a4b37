// TableWithoutKeys: a state that nobody reads, publishes or ranks: what a batch brings is for the level behind it, or
// for an output.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "stream/job.h"

namespace millrace::internal {

class TableWithoutKeys : public StateTable {
 public:
  [[nodiscard]] std::string layout() const override { return std::string(kNewestBatch); }
  [[nodiscard]] std::optional<std::string> read(std::string_view, BatchId) const final { return std::nullopt; }
  // What other code has kept of a newest batch is nothing to this one.
  Status restore_from(const std::vector<StatePlan>&) final { return {}; }
  void forget_undo(BatchId) final {}
  [[nodiscard]] std::vector<SinkEntry> take_unpublished(bool) final { return {}; }
  void settle_publication(bool) final {}
  [[nodiscard]] std::vector<SinkEntry> top(size_t) final { return {}; }
  [[nodiscard]] std::vector<SinkEntry> top_above(size_t, double) final { return {}; }
  [[nodiscard]] int64_t keys() const final { return 0; }
};

}  // namespace millrace::internal
