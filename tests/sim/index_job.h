// Jobs for tests that keep an index: the words of the log, with the documents in which they occur. Records are parts of
// a few documents.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "stream/job.h"

namespace millrace {

inline constexpr char kIndexJob[] = "index";
// The same where half of the records take their document off again, so that postings go, and words.
inline constexpr char kShrinkingIndexJob[] = "shrinking_index";

bool is_index_job(const std::string& type);

// What each word of a record brings: a document, and so much for its count.
std::string document_of(int64_t partition, int64_t offset);
int64_t posting_count(bool shrinks, int64_t partition, int64_t offset);

// With `--set version=N` another state stands beside the index, and another number is its own in checkpoints.
Result<std::shared_ptr<const Job>> make_index_job(const std::string& type, const JobContext& context);

}  // namespace millrace
