// TableExport: a whole table as CSV, all of it as of one batch.
//
//   GET /api/v1/jobs/NAME/export.csv?prefix=P&table=T&spreadsheet=true
//
// A line key,value (RFC 4180) for each key that begins with P, ascending by the keys' bytes, behind a line with these
// two words. Keys and values are as they are; ?spreadsheet=true puts an apostrophe before what a spreadsheet would take
// for a formula. The batch stands in the header Millrace-Batch. It is read page by page, the next one when the last one
// is with the reader. One that breaks off, since its snapshot is gone or the master does not answer, has no end: the
// last chunk is missing.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>

#include "common/seams/api_service.h"
#include "gateway/gateway.h"

namespace millrace {

class TableExport {
 public:
  // `master` outlives this; what it answers is passed on on its thread.
  explicit TableExport(ApiService& master) : master_(master) {}

  // `gateway` calls this as long as it is called itself.
  void add_to(Gateway& gateway);

 private:
  static constexpr size_t kMostAtOnce = 16;
  struct Reader;
  static void send_next(const std::shared_ptr<Reader>& reader);

  ApiService& master_;
  const std::shared_ptr<std::atomic<size_t>> under_way_ = std::make_shared<std::atomic<size_t>>(0);
};

}  // namespace millrace
