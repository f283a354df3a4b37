// JobController: pages of an index.
#include <algorithm>
#include <utility>

#include "master/index_cursor.h"
#include "master/job_controller.h"

namespace millrace {

void JobController::docs(const api::DocsRequest& request, std::move_only_function<void(Result<api::Docs>)> done) {
  const Result<size_t> number = find_table(request.table, WantedTable::kIndex);
  if (!number.has_value()) return done(std::unexpected(number.error()));
  std::optional<wire::IndexMember> after;
  if (!request.after.empty()) {
    Result<wire::IndexMember> parsed = parse_cursor(request.after);
    if (!parsed.has_value()) return done(std::unexpected(parsed.error()));
    after = *std::move(parsed);
  }
  const auto limit = static_cast<size_t>(request.limit);
  // One more says whether there is another page.
  queries_.docs(*number, request.key, request.limit + 1, std::move(after), BatchId(request.at_least),
                lifetime_.guard([this, table = *number, limit, done = std::move(done)](auto answer) mutable {
                  if (!answer.has_value()) return done(std::unexpected(answer.error()));
                  done(docs_of(table, limit, *answer));
                }));
}

api::Docs JobController::docs_of(size_t table, size_t limit, const QueryRouter::Answer& answer) const {
  api::Docs docs;
  docs.as_of = as_of(answer.batch);
  docs.table = layout_[table].name;
  docs.found = answer.entries.front().found;
  docs.value = answer.entries.front().text;
  wire::IndexMember last;
  const size_t shown = std::min(limit, answer.entries.size() - 1);
  for (size_t i = 1; i <= shown; ++i) {
    last.member = answer.entries[i].key;
    last.count = answer.entries[i].count;
    api::Doc& doc = docs.docs.emplace_back();
    doc.member = last.member;
    doc.count = last.count;
  }
  if (answer.entries.size() - 1 > limit) docs.next_page = cursor_text(last);
  return docs;
}

}  // namespace millrace
