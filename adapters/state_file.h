// What a state file looks like inside; see adapters/file_checkpoint_store.h.
#pragma once

#include <rocksdb/options.h>
#include <rocksdb/status.h>

#include <string>

#include "common/base/error.h"
#include "common/base/ids.h"

namespace millrace::state_file {

// Before each value.
inline constexpr char kValueTag = 0;
inline constexpr char kRemovedTag = 1;

// A key begins with its partition.
inline constexpr size_t kPrefixSize = 4;
std::string prefix_of(StatePartition partition);

// `readahead`: bytes that one who reads entry by entry may read ahead.
rocksdb::Options table_options(size_t readahead = 256 << 10);

Error describe(const std::string& path, const rocksdb::Status& status);

}  // namespace millrace::state_file
