#include "jobs/numbers.h"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace millrace {

std::expected<std::vector<double>, std::string> numbers_of(std::string_view text, size_t count) {
  constexpr std::string_view kBorders = ", \t\r\n\v\f";
  constexpr double kLargest = 1e100;
  std::vector<double> numbers;
  numbers.reserve(count);
  for (size_t begin = text.find_first_not_of(kBorders); begin < text.size();) {
    const size_t end = std::min(text.find_first_of(kBorders, begin), text.size());
    const std::string_view word = text.substr(begin, end - begin);
    double number = 0;
    const auto [behind, problem] = std::from_chars(word.data(), word.data() + word.size(), number);
    if (problem != std::errc() || behind != word.data() + word.size() || !(std::abs(number) <= kLargest)) {
      return std::unexpected("'" + std::string(word) + "' is no number from -1e100 to 1e100");
    }
    numbers.push_back(number);
    begin = text.find_first_not_of(kBorders, end);
  }
  if (numbers.size() == count) return numbers;
  return std::unexpected("numbers: " + std::to_string(numbers.size()) + ", not " + std::to_string(count));
}

}  // namespace millrace
