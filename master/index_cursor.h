// Cursors of pages, as text for clients: what the next page begins behind. Of an index a member, of a table a key, and
// which snapshot that is of:
//
//   COUNT:MEMBER
//   JOB-INCARNATION-BATCH:KEY
//
// The bytes of members and keys are percent-encoded, but for letters, digits and -._~
#pragma once

#include <string>

#include "common/base/error.h"
#include "common/base/ids.h"
#include "wire_types.h"

namespace millrace {

std::string cursor_text(const wire::IndexMember& last);
// kInvalid: that was no cursor.
Result<wire::IndexMember> parse_cursor(const std::string& text);

struct PageCursor {
  JobId job;
  Incarnation incarnation;
  BatchId batch;
  std::string key;
};
std::string cursor_text(const PageCursor& last);
// kInvalid: that was no cursor.
Result<PageCursor> parse_page_cursor(const std::string& text);

}  // namespace millrace
