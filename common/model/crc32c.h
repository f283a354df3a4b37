// CRC32C (Castagnoli), the checksum of Kafka's record batches.
#pragma once

#include <cstdint>
#include <string_view>

namespace millrace {

// By the processor's instruction where there is one (chosen at run time), else by table.
uint32_t crc32c(std::string_view bytes);

// The same by table: the reference.
uint32_t crc32c_by_table(std::string_view bytes);

}  // namespace millrace
