// Records of numbers, as the jobs that reckon with them read them.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <vector>

namespace millrace {

// The numbers of a text, separated by commas or white space, as 1.5, -2 or 3e-7. Refused: what is no number, one beyond
// 1e100 (squares and sums of what is left stay finite), and a text that has not `count` of them.
std::expected<std::vector<double>, std::string> numbers_of(std::string_view text, size_t count);

}  // namespace millrace
