#include "gateway/table_export.h"

#include <string>
#include <utility>

#include "common/api/change_position.h"
#include "common/model/csv.h"

namespace millrace {
namespace {

constexpr int32_t kKeysAtOnce = 1000;

std::string lines_of(const api::Page& page, bool spreadsheet) {
  const auto append = spreadsheet ? append_csv_text : append_csv_column;
  std::string lines;
  for (const api::Value& entry : page.entries) {
    append(lines, entry.key);
    lines += ',';
    append(lines, entry.text);
    lines += "\r\n";
  }
  return lines;
}

}  // namespace

// One who reads an export. Held by what comes next: a page that is asked for, or one that is on its way to it.
struct TableExport::Reader {
  Reader(ApiService& api, api::SearchRequest first, bool for_spreadsheet, std::shared_ptr<std::atomic<size_t>> counted)
      : master(api), request(std::move(first)), spreadsheet(for_spreadsheet), under_way(std::move(counted)) {}
  ~Reader() { --*under_way; }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  ApiService& master;
  api::SearchRequest request;  // of the next page
  const bool spreadsheet;
  const std::shared_ptr<std::atomic<size_t>> under_way;
  std::shared_ptr<HttpStream> stream;
};

void TableExport::add_to(Gateway& gateway) {
  gateway.add("GET", "/api/v1/jobs/NAME/export.csv", Role::kRead,
              [this](const HttpRequest& request, const auto& arguments, const auto&, HttpReply reply) {
                if (++*under_way_ > kMostAtOnce) {
                  --*under_way_;
                  return reply(later(503, "too many tables are being exported; try again later"));
                }
                api::SearchRequest first;
                first.name = arguments[0];
                first.table = request.parameter("table");
                first.prefix = request.parameter("prefix");
                first.limit = kKeysAtOnce;
                const auto reader =
                    std::make_shared<Reader>(master_, first, request.parameter("spreadsheet") == "true", under_way_);
                master_.search(first, [reader, reply = std::move(reply)](const Result<api::Page>& page) mutable {
                  if (!page) return reply(http_failure(page.error()));
                  HttpResponse response{
                      .type = "text/csv; charset=utf-8; header=present",
                      .body = "key,value\r\n" + lines_of(*page, reader->spreadsheet),
                      .headers = {{"Millrace-Batch", std::to_string(page->as_of.batch)},
                                  {"Millrace-As-Of", position_text(page->as_of)},
                                  {"Content-Disposition", "attachment; filename=\"" + reader->request.name + "-" +
                                                              std::to_string(page->as_of.batch) + ".csv\""}}};
                  if (!page->next_page.empty()) {
                    reader->request.after = page->next_page;
                    response.marks_end = true;
                    response.stream = [reader](std::shared_ptr<HttpStream> stream) {
                      reader->stream = std::move(stream);
                      reader->stream->when_taken([reader] { send_next(reader); });
                    };
                  }
                  reply(std::move(response));
                });
              });
}

void TableExport::send_next(const std::shared_ptr<Reader>& reader) {
  reader->master.search(reader->request, [reader](const Result<api::Page>& page) {
    HttpStream& stream = *reader->stream;
    if (!page) return stream.give_up();
    if (!stream.send(std::make_shared<const std::string>(lines_of(*page, reader->spreadsheet)))) return;
    if (page->next_page.empty()) return stream.end();
    reader->request.after = page->next_page;
    stream.when_taken([reader] { send_next(reader); });
  });
}

}  // namespace millrace
