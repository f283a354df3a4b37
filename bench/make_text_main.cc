// make_text: text for benchmarks: lines of words of a made-up vocabulary, drawn by Zipf's law with exponent 1. The same
// seed gives the same bytes.
//
//   make_text --lines=10000000 > text
#include <gflags/gflags.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <random>
#include <string>
#include <vector>

DEFINE_int64(lines, 1'000'000, "Lines to write");
DEFINE_int32(vocabulary, 200'000, "Distinct words");
DEFINE_int32(words, 10, "Words in a line");
DEFINE_uint64(seed, 42, "Another seed, another text");

namespace {

// More frequent words are shorter.
std::vector<std::string> make_vocabulary(size_t size, std::mt19937_64& random) {
  std::vector<std::string> words(size);
  for (size_t rank = 0; rank < size; ++rank) {
    const auto by_rank = static_cast<size_t>(std::log2(static_cast<double>(rank) + 2) / 2);
    const size_t length = 2 + by_rank + random() % 3;
    for (size_t i = 0; i < length; ++i) words[rank] += static_cast<char>('a' + random() % 26);
  }
  return words;
}

// The inverse of the distribution as a table, so that a draw is one look-up.
std::vector<uint32_t> make_draws(size_t vocabulary) {
  constexpr size_t kDraws = 1 << 22;
  std::vector<double> cumulated(vocabulary);
  double sum = 0;
  for (size_t rank = 0; rank < vocabulary; ++rank) cumulated[rank] = sum += 1.0 / static_cast<double>(rank + 1);
  std::vector<uint32_t> draws(kDraws);
  for (size_t i = 0; i < kDraws; ++i) {
    const double point = (static_cast<double>(i) + 0.5) / kDraws * sum;
    draws[i] = static_cast<uint32_t>(std::ranges::lower_bound(cumulated, point) - cumulated.begin());
  }
  return draws;
}

}  // namespace

int main(int argc, char** argv) {
  gflags::ParseCommandLineFlags(&argc, &argv, true);
  if (FLAGS_lines < 0 || FLAGS_vocabulary < 1 || FLAGS_words < 1) {
    std::fprintf(stderr, "make_text: --lines, --vocabulary and --words must be positive\n");
    return 2;
  }
  constexpr size_t kFlushBytes = 1 << 20;
  std::mt19937_64 random(FLAGS_seed);
  const std::vector<std::string> vocabulary = make_vocabulary(static_cast<size_t>(FLAGS_vocabulary), random);
  const std::vector<uint32_t> draws = make_draws(vocabulary.size());
  std::string text;
  for (int64_t line = 0; line < FLAGS_lines; ++line) {
    for (int32_t word = 0; word < FLAGS_words; ++word) {
      if (word > 0) text += ' ';
      text += vocabulary[draws[random() & (draws.size() - 1)]];
    }
    text += '\n';
    if (text.size() < kFlushBytes && line + 1 < FLAGS_lines) continue;
    if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size()) {
      std::perror("make_text: cannot write");
      return 1;
    }
    text.clear();
  }
  return std::fflush(stdout) == 0 ? 0 : 1;
}
