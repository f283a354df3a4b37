// What is wrong with a request of the public services as such, before anything is asked of the master.
// Pure functions; kInvalid with the field, its value and the limits.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "millrace_types.h"

namespace millrace {

Status check_get(const std::string& name, const std::vector<std::string>& keys, int64_t at_least,
                 const std::string& table);
Status check_top(const std::string& name, int32_t n, int64_t at_least, const std::string& table);
Status check_docs(const api::DocsRequest& request);
Status check_search(const api::SearchRequest& request);
Status check_totals(const std::string& name, const std::string& table);
Status check_changes(const api::ChangesRequest& request);
Status check_batches(const std::string& name, int32_t n, int64_t before);
Status check_resume_from(const std::string& name, int64_t batch);
Status check_dead_letters(const std::string& name, int32_t limit, int32_t from_partition, int64_t from_offset);
Status check_open_log(const std::string& log, int32_t partitions);
Status check_append(const std::string& log, int32_t partition, const std::vector<std::string>& records,
                    int64_t producer_id, int64_t sequence);

}  // namespace millrace
