// JobController: tables page by page, and their totals, of complete checkpoints.
#include <utility>

#include "master/index_cursor.h"
#include "master/job_controller.h"

namespace millrace {
namespace {

constexpr size_t kMaxPageKeyBytes = size_t{4} << 20;  // with the prefix, half of what a message may have

}  // namespace

CheckpointViews::Hooks JobController::view_hooks() {
  return {.send =
              [this](ProcessId process, BatchId batch, wire::ReadView request) {
                wire::Body body;
                body.read_view = std::move(request);
                body.__isset.read_view = true;
                send(process, std::move(body), batch);
              },
          // The same one for all pages of a batch, as long as it is there: it goes on where it is.
          .reader =
              [this](BatchId batch) {
                std::vector<ProcessId> readers;
                for (const auto& [process, member] : members_) {
                  if (member.assigned) readers.push_back(process);
                }
                if (readers.empty()) return kNoProcess;
                return readers[static_cast<size_t>(batch.value()) % readers.size()];
              },
          .is_there = [this](ProcessId process) { return find_member(process) != nullptr; }};
}

void JobController::search(const api::SearchRequest& request, std::move_only_function<void(Result<api::Page>)> done) {
  const Result<size_t> table = find_table(request.table, WantedTable::kAny);
  if (!table.has_value()) return done(std::unexpected(table.error()));
  CheckpointViews::Question question;
  question.table = *table;
  question.prefix = request.prefix;
  question.limit = request.limit;
  if (!request.after.empty()) {
    Result<PageCursor> after = parse_page_cursor(request.after);
    if (!after.has_value()) return done(std::unexpected(after.error()));
    if (after->job != job_ || after->incarnation != Incarnation(record_.incarnation)) {
      return done(fail(ErrorCode::kDataLost, "the snapshot of batch " + std::to_string(after->batch.value()) +
                                                 " is gone, with the life of the job that it was of; begin again"));
    }
    if (after->key.size() > kMaxPageKeyBytes || !after->key.starts_with(request.prefix)) {
      return done(fail(ErrorCode::kInvalid, "`after` is not what an answer to this prefix had as next_page"));
    }
    question.batch = after->batch;
    question.after = std::move(after->key);
  }
  views_.page(std::move(question), lifetime_.guard([this, table = *table, done = std::move(done)](auto page) mutable {
    if (!page.has_value()) return done(std::unexpected(page.error()));
    done(page_of(table, *std::move(page)));
  }));
}

api::Page JobController::page_of(size_t table, CheckpointViews::Page read) const {
  api::Page page;
  page.as_of = as_of(read.batch);
  if (layout_.size() > 1) page.table = layout_[table].name;
  for (wire::QueryEntry& entry : read.entries) {
    api::Value& value = page.entries.emplace_back();
    value.key = std::move(entry.key);
    value.text = std::move(entry.text);
    value.found = true;
  }
  if (read.more && !page.entries.empty()) {
    page.next_page =
        cursor_text(PageCursor{job_, Incarnation(record_.incarnation), read.batch, page.entries.back().key});
  }
  return page;
}

void JobController::totals(const std::string& table, std::move_only_function<void(Result<api::Totals>)> done) {
  const Result<size_t> number = find_table(table, WantedTable::kAny);
  if (!number.has_value()) return done(std::unexpected(number.error()));
  views_.totals(*number, lifetime_.guard([this, table = *number, done = std::move(done)](auto counted) mutable {
    if (!counted.has_value()) return done(std::unexpected(counted.error()));
    api::Totals totals;
    totals.as_of = as_of(counted->batch);
    if (layout_.size() > 1) totals.table = layout_[table].name;
    totals.keys = counted->keys;
    if (counted->sum) totals.__set_sum(*counted->sum);
    done(std::move(totals));
  }));
}

}  // namespace millrace
