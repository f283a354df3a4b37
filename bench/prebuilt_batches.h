// PrebuiltBatches: the lines of a text as record batches that are made once and sent again and again, each time with
// other words in its probe lines, and with the time. Belongs to one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace millrace {

class PrebuiltBatches {
 public:
  // Batches of `lines_a_batch` lines; what is left at the end of the text is not used. The first line of each batch,
  // and each `probe_every`th after it, has a word behind its text: that of its number (probe_word()).
  PrebuiltBatches(const std::vector<std::string>& lines, size_t lines_a_batch, size_t probe_every);

  [[nodiscard]] size_t count() const { return batches_.size(); }

  // Batch `index`, whose first line has the number `first_line`; valid until it is filled again.
  std::string_view fill(size_t index, int64_t first_line, int64_t now_ms);

  // Always as long, so that there is room for any; `line` has ten digits at most.
  static std::string probe_word(int64_t line);

 private:
  struct Batch {
    std::string bytes;
    std::vector<size_t> probes;  // where the words of its probe lines stand
  };

  const size_t probe_every_;
  std::vector<Batch> batches_;
};

}  // namespace millrace
