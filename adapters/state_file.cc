#include "adapters/state_file.h"

#include <rocksdb/table.h>

namespace millrace::state_file {

rocksdb::Options table_options(size_t readahead) {
  rocksdb::BlockBasedTableOptions table;
  table.block_size = 16 << 10;
  table.format_version = 5;
  table.checksum = rocksdb::kXXH3;
  table.no_block_cache = true;
  table.max_auto_readahead_size = readahead;
  rocksdb::Options options;
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  options.compression = rocksdb::kNoCompression;
  return options;
}

std::string prefix_of(StatePartition partition) {
  const auto number = static_cast<uint32_t>(partition.value());
  return {static_cast<char>(number >> 24), static_cast<char>(number >> 16), static_cast<char>(number >> 8),
          static_cast<char>(number)};
}

Error describe(const std::string& path, const rocksdb::Status& status) {
  if (status.IsNoSpace()) return {ErrorCode::kIo, path + ": no space left on the disk; free some space there"};
  if (status.IsCorruption()) return {ErrorCode::kCorrupt, path + " is damaged: " + status.ToString()};
  // Entries out of order: a bug of the caller, not of the disk.
  if (status.IsInvalidArgument()) return {ErrorCode::kInternal, path + ": " + status.ToString()};
  return {ErrorCode::kIo, path + ": " + status.ToString() + "; check the disk and its permissions"};
}

}  // namespace millrace::state_file
