#include "master/checkpoint_views.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "master/assignment.h"

namespace millrace {

CheckpointViews::CheckpointViews(TaskLoop& loop, const Clock& clock, CheckpointCoordinator& coordinator,
                                 int32_t job_version, Hooks hooks, Limits limits)
    : loop_(loop),
      clock_(clock),
      coordinator_(coordinator),
      job_version_(job_version),
      hooks_(std::move(hooks)),
      limits_(limits) {}

CheckpointViews::~CheckpointViews() = default;

// --- what is asked -----------------------------------------------------------------------------------------------

Result<const KeptCheckpoint*> CheckpointViews::find(BatchId batch) const {
  const KeptCheckpoint* const found = batch == BatchId(0) ? coordinator_.newest() : coordinator_.find(batch);
  if (batch != BatchId(0) && found == nullptr) {
    return fail(ErrorCode::kDataLost,
                "the snapshot of batch " + std::to_string(batch.value()) + " is gone; begin again");
  }
  if (found == nullptr || found->manifest.job_version != job_version_) {
    return fail(ErrorCode::kUnavailable, "the job's present version has no complete checkpoint yet; try again");
  }
  return found;
}

void CheckpointViews::page(Question question, Done<Page> done) {
  const Result<const KeptCheckpoint*> checkpoint = find(question.batch);
  if (!checkpoint.has_value()) return done(std::unexpected(checkpoint.error()));
  wire::ReadView request;
  request.table = static_cast<int32_t>(question.table);
  request.prefix = std::move(question.prefix);
  request.limit = question.limit;
  if (question.after) request.__set_after(*std::move(question.after));
  const BatchId batch((*checkpoint)->manifest.batch);
  read(**checkpoint, std::move(request), question.batch == BatchId(0), limits_.patience,
       [batch, done = std::move(done)](Result<wire::ViewReply> reply) mutable {
         if (!reply.has_value()) return done(std::unexpected(reply.error()));
         done(Page{batch, std::move(reply->entries), reply->more});
       });
}

void CheckpointViews::totals(size_t table, Done<Totals> done) {
  Sums& sums = sums_[table];
  const Result<const KeptCheckpoint*> newest = find(BatchId(0));
  if (sums.newest) {
    const bool is_newest = newest.has_value() && (*newest)->manifest.batch == sums.newest->batch.value();
    if (is_newest ||
        clock_.now() - sums.counted < std::min(sums.took * limits_.totals_pause, limits_.most_totals_pause))
      return done(*sums.newest);
  }
  if (!newest.has_value()) return done(std::unexpected(newest.error()));
  if (sums.waiting.size() >= limits_.reads) {
    return done(fail(ErrorCode::kUnavailable, "too many wait for these totals; try again later"));
  }
  const uint64_t id = ++last_waiting_;
  sums.waiting.emplace(id, std::move(done));
  loop_.schedule(limits_.totals_wait, lifetime_.guard([this, table, id] {
    Sums& late = sums_[table];
    auto waiting = late.waiting.extract(id);
    if (waiting.empty()) return;
    if (late.newest) return waiting.mapped()(*late.newest);
    waiting.mapped()(fail(ErrorCode::kUnavailable, "the keys are being counted, which takes long; ask again later"));
  }));
  if (!sums.counting) count(table);
}

void CheckpointViews::count(size_t table) {
  sums_[table].counting = true;
  const KeptCheckpoint& checkpoint = *coordinator_.newest();
  wire::ReadView request;
  request.table = static_cast<int32_t>(table);
  request.totals = true;
  const BatchId batch(checkpoint.manifest.batch);
  read(checkpoint, std::move(request), true, std::nullopt,
       [this, table, batch, begun = clock_.now()](Result<wire::ViewReply> reply) {
         Sums& sums = sums_[table];
         sums.counting = false;
         if (reply.has_value()) {
           sums.newest = Totals{batch, reply->keys, std::nullopt};
           if (reply->__isset.sum) sums.newest->sum = reply->sum;
           sums.counted = clock_.now();
           sums.took = sums.counted - begun;
         }
         for (auto& [id, done] : std::exchange(sums.waiting, {})) {
           if (reply.has_value()) {
             done(*sums_[table].newest);
           } else {
             done(std::unexpected(reply.error()));
           }
         }
       });
}

// --- reads -------------------------------------------------------------------------------------------------------

void CheckpointViews::read(const KeptCheckpoint& checkpoint, wire::ReadView request, bool from_begin,
                           std::optional<Duration> patience, Done<wire::ViewReply> done) {
  if (reads_.size() >= limits_.reads) {
    return done(fail(ErrorCode::kUnavailable, "too many pages are being read; try again later"));
  }
  Read read;
  read.batch = BatchId(checkpoint.manifest.batch);
  read.request = std::move(request);
  read.request.id = ++last_id_;
  for (const wire::CheckpointFile& file : checkpoint.manifest.files) {
    if (!file.name.empty()) read.request.files.push_back(file);
  }
  read.from_begin = from_begin;
  read.pinned = pin(read.batch, !from_begin);
  read.done = std::move(done);
  const int64_t id = read.request.id;
  if (patience) {
    read.timer = loop_.schedule(*patience, lifetime_.guard([this, id] {
      end(id, fail(ErrorCode::kTimeout,
                   "no executor has read the page in time; see 'millrace describe' for what the job waits for"));
    }));
  }
  ask(reads_.emplace(id, std::move(read)).first->second);
}

bool CheckpointViews::ask(Read& read) {
  read.process = hooks_.reader(read.batch);
  if (read.process == kNoProcess) return true;
  if (++read.askings > limits_.askings) return false;
  hooks_.send(read.process, read.batch, read.request);
  return true;
}

void CheckpointViews::on_reassigned() {
  std::vector<int64_t> hopeless;
  for (auto& [id, read] : reads_) {
    const bool waits = read.process == kNoProcess || !hooks_.is_there(read.process);
    if (waits && !ask(read)) hopeless.push_back(id);
  }
  for (const int64_t id : hopeless) {
    end(id, fail(ErrorCode::kUnavailable,
                 "one executor after the other has ended before it had read the page; see "
                 "'millrace describe'"));
  }
}

void CheckpointViews::on_reply(ProcessId from, const wire::ViewReply& reply) {
  const auto found = reads_.find(reply.id);
  if (found == reads_.end() || found->second.process != from) return;
  if (reply.problem.empty()) return end(reply.id, reply);
  if (reply.final) return end(reply.id, fail(ErrorCode::kInvalid, reply.problem));
  if (!reply.gone) return end(reply.id, fail(ErrorCode::kUnavailable, reply.problem));
  const std::string batch = std::to_string(found->second.batch.value());
  if (!found->second.from_begin) {
    return end(reply.id, fail(ErrorCode::kDataLost, "the snapshot of batch " + batch + " is gone; begin again"));
  }
  end(reply.id, fail(ErrorCode::kUnavailable, "the snapshot of batch " + batch + " went while it was read; try again"));
}

void CheckpointViews::end(int64_t id, Result<wire::ViewReply> result) {
  auto node = reads_.extract(id);
  if (node.empty()) return;
  Read& read = node.mapped();
  if (read.timer != 0) loop_.cancel(read.timer);
  if (read.pinned) unpin_after(read.batch, result.has_value() && result->more);
  read.done(std::move(result));
}

void CheckpointViews::fail_all(const Error& error) {
  while (!reads_.empty()) end(reads_.begin()->first, std::unexpected(error));
  sums_.clear();
  for (const auto& [batch, view] : std::exchange(views_, {})) coordinator_.unpin(batch);
}

// --- views -------------------------------------------------------------------------------------------------------

// False: there is no room for another one. What is not pinned may go while it is read, which shows then.
bool CheckpointViews::pin(BatchId batch, bool followed) {
  if (!views_.contains(batch) && views_.size() >= limits_.views) {
    // The one that is missed least: those of whom one page was read, as most searches do, before those that go on.
    const auto worth = [&](const auto& entry) { return std::pair(entry.second.followed, entry.second.read); };
    const auto least = std::ranges::min_element(
        views_, {}, [&](const auto& entry) { return std::pair(entry.second.reading > 0, worth(entry)); });
    const View& view = least->second;
    if (view.reading > 0 || (view.followed && clock_.now() - view.read < limits_.busy_for)) return false;
    coordinator_.unpin(least->first);
    views_.erase(least);
  }
  coordinator_.pin(batch);
  View& view = views_[batch];
  ++view.reading;
  view.followed = view.followed || followed;
  view.read = clock_.now();
  if (!sweeping_) drop_unread();
  return true;
}

void CheckpointViews::unpin_after(BatchId batch, bool more) {
  const auto found = views_.find(batch);
  if (found == views_.end()) return;
  View& view = found->second;
  --view.reading;
  view.read = clock_.now();
  if (more || view.followed || view.reading > 0) return;
  views_.erase(found);
  coordinator_.unpin(batch);
}

void CheckpointViews::drop_unread() {
  sweeping_ = false;
  for (auto view = views_.begin(); view != views_.end();) {
    if (view->second.reading == 0 && clock_.now() - view->second.read >= limits_.kept_for) {
      coordinator_.unpin(view->first);
      view = views_.erase(view);
    } else {
      ++view;
    }
  }
  if (views_.empty()) return;
  sweeping_ = true;
  loop_.schedule(limits_.kept_for / 6, lifetime_.guard([this] { drop_unread(); }));
}

}  // namespace millrace
