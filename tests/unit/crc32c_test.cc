#include "common/model/crc32c.h"

#include <gtest/gtest.h>

#include <string>

namespace millrace {
namespace {

TEST(Crc32c, gives_the_values_of_rfc_3720) {
  std::string ascending;
  for (int byte = 0; byte < 32; ++byte) ascending.push_back(static_cast<char>(byte));
  for (auto* compute : {&crc32c, &crc32c_by_table}) {
    EXPECT_EQ(compute(""), 0u);
    EXPECT_EQ(compute("123456789"), 0xE3069283u);
    EXPECT_EQ(compute(std::string(32, '\0')), 0x8A9136AAu);
    EXPECT_EQ(compute(std::string(32, '\xFF')), 0x62A8AB43u);
    EXPECT_EQ(compute(ascending), 0x46DD794Eu);
  }
}

TEST(Crc32c, is_the_same_by_instruction_and_by_table_at_every_length_and_alignment) {
  std::string bytes;
  uint32_t state = 1;
  for (int index = 0; index < 300; ++index)
    bytes.push_back(static_cast<char>((state = state * 1664525 + 1013904223) >> 24));
  for (size_t from = 0; from < 9; ++from) {
    for (size_t size = 0; from + size <= bytes.size(); ++size) {
      const std::string_view part = std::string_view(bytes).substr(from, size);
      ASSERT_EQ(crc32c(part), crc32c_by_table(part));
    }
  }
}

}  // namespace
}  // namespace millrace
