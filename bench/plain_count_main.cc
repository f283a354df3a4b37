// plain_count: counts the words of a file as one would without an engine: one process, one core, a hash table of the
// standard library; no Kafka, no Redis, and nothing is left of it if it dies. Prints one JSON object.
//
//   plain_count FILE COUNTS-FILE
#include <sys/resource.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>

namespace {

struct Hash {
  using is_transparent = void;
  size_t operator()(std::string_view word) const { return std::hash<std::string_view>()(word); }
};
using Counts = std::unordered_map<std::string, int64_t, Hash, std::equal_to<>>;

void add(Counts& counts, std::string_view word) {
  const auto found = counts.find(word);
  if (found != counts.end()) {
    ++found->second;
  } else {
    counts.emplace(word, 1);
  }
}

// Lines and counts of the whole file; false: it cannot be read.
bool count(const char* path, Counts& counts, int64_t& lines) {
  std::FILE* file = std::fopen(path, "rb");
  if (file == nullptr) return false;
  std::string text;  // what is read and not counted yet: less than a word, then a piece of the file
  std::array<char, 1 << 20> piece;
  for (size_t read = 0; (read = std::fread(piece.data(), 1, piece.size(), file)) > 0;) {
    text.append(piece.data(), read);
    size_t begin = 0;
    for (size_t i = 0; i < text.size(); ++i) {
      if (text[i] != ' ' && text[i] != '\n') continue;
      if (i > begin) add(counts, std::string_view(text).substr(begin, i - begin));
      lines += text[i] == '\n' ? 1 : 0;
      begin = i + 1;
    }
    text.erase(0, begin);
  }
  if (!text.empty()) add(counts, text);
  const bool whole = std::ferror(file) == 0;
  std::fclose(file);
  return whole;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: plain_count FILE COUNTS-FILE\n");
    return 2;
  }
  const auto begin = std::chrono::steady_clock::now();
  Counts counts;
  int64_t lines = 0;
  if (!count(argv[1], counts, lines)) {
    std::perror(argv[1]);
    return 1;
  }
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  std::ofstream out(argv[2]);
  for (const auto& [word, number] : counts) out << word << '\t' << number << '\n';
  if (!out.flush()) {
    std::perror(argv[2]);
    return 1;
  }
  std::printf("{\"lines\": %lld, \"seconds\": %.6f, \"cpu_s\": %.6f}\n", static_cast<long long>(lines), seconds.count(),
              static_cast<double>(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
                  static_cast<double>(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6);
  return 0;
}
