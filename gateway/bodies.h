// Bodies of requests that bring records, made records. What is wrong with one is told with its place, as a problem
// document; bytes that are no UTF-8 are refused wherever they stand.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "common/seams/http.h"
#include "common/seams/record_writer.h"
#include "gateway/json_body.h"

namespace millrace {

inline constexpr size_t kMostRecords = 10'000;  // of one request
inline constexpr size_t kMostKeyBytes = 1024;   // of a record

// {"text": "...", "user_id": "..."}: the record of that text, and with the user as its key, if one is named.
Parsed<KeyedRecord> parse_submission(std::string_view body);

// At least one record. By the Content-Type, of which parameters are ignored:
//   application/json      {"records": [{"key": "...", "value": "..."}, ...]}; keys may be left out
//   application/x-ndjson  in each line such an object, or a string: the value; empty lines are none
//   text/plain            each line
Parsed<std::vector<KeyedRecord>> parse_records(std::string_view type, std::string_view body);

}  // namespace millrace
