// Keys for tests of tables: short and long ones, and such that look alike.
#pragma once

#include <iterator>
#include <random>
#include <string>

namespace millrace {

// One of `distinct`, roughly.
inline std::string random_key(std::mt19937_64& random, size_t distinct) {
  std::mt19937_64 by_number(random() % distinct);
  const size_t kinds[] = {0, 1, 2, 7, 8, 9, 14, 15, 16, 17, 40, 300};
  std::string key(kinds[by_number() % std::size(kinds)], ' ');
  for (char& byte : key) byte = static_cast<char>(by_number() % 3 == 0 ? 0 : by_number());
  return key;
}

}  // namespace millrace
