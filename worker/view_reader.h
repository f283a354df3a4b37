// ViewReader: reads tables for people from the files of complete checkpoints, whoever owns their partitions. All is
// done in the background, by the checkpoint store's thread for that, the job's code included that makes texts of
// values. Lives on the executor's loop.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "common/runtime/lifetime.h"
#include "common/seams/checkpoint_store.h"
#include "stream/job.h"
#include "wire_types.h"

namespace millrace {

class ViewReader {
 public:
  using Reply = std::move_only_function<void(const wire::ViewReply&)>;

  // `store` outlives this.
  ViewReader(CheckpointStore& store, std::shared_ptr<const Job> job) : store_(store), job_(std::move(job)) {}

  // Bounded in number; `reply` is called once, or not at all where this goes.
  void read(const wire::ReadView& request, Reply reply);

 private:
  static constexpr size_t kMaxOpen = 100;
  // Keys and values as they are shown: of a page, but for its first entry, and of any.
  static constexpr size_t kMostShownBytes = 2 << 20;
  static constexpr size_t kMaxReplyBytes = 8 << 20;
  // Of the steps of one who wants totals: others get their pages in between.
  static constexpr size_t kTotalsStep = 20'000;

  struct Sums;
  void read_page(const wire::ReadView& request, StateSlice slice, Reply reply);
  void add_up(std::shared_ptr<Sums> sums);
  void finish(Reply reply, const wire::ViewReply& answer);

  CheckpointStore& store_;
  const std::shared_ptr<const Job> job_;
  std::map<size_t, std::optional<std::string>> prefixes_;  // of keys in checkpoints, by table, as far as asked for
  size_t open_ = 0;
  Lifetime lifetime_;
};

}  // namespace millrace
