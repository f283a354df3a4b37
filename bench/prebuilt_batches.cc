#include "bench/prebuilt_batches.h"

#include <algorithm>
#include <optional>
#include <span>
#include <utility>

#include "common/base/byte_order.h"
#include "common/base/check.h"
#include "common/base/ids.h"
#include "common/model/crc32c.h"
#include "common/model/record_batch.h"

namespace millrace {
namespace {

constexpr std::string_view kProbe = "probe0000000000";
// Fields of a batch's header, which common/model/record_batch.h draws.
constexpr size_t kCrc = 17;
constexpr size_t kBaseTimestamp = 27;
constexpr size_t kMaxTimestamp = 35;
constexpr size_t kAfterValue = 1;  // of a record: its number of headers

}  // namespace

PrebuiltBatches::PrebuiltBatches(const std::vector<std::string>& lines, size_t lines_a_batch, size_t probe_every)
    : probe_every_(probe_every) {
  CHECK(lines_a_batch > 0 && probe_every > 0);
  RecordBatchBuilder builder;
  for (std::span<const std::string> left = lines; left.size() >= lines_a_batch; left = left.subspan(lines_a_batch)) {
    Batch& batch = batches_.emplace_back();
    for (size_t i = 0; i < lines_a_batch; ++i) {
      const bool is_probe = i % probe_every == 0;
      const std::string line = is_probe ? left[i] + " " + std::string(kProbe) : left[i];
      builder.add(Offset(static_cast<int64_t>(i)), 0, std::nullopt, line);
      if (is_probe) batch.probes.push_back(builder.bytes() - kAfterValue - kProbe.size());
    }
    batch.bytes = builder.finish(RecordBatchBuilder::Checksum::kNone);
  }
}

std::string_view PrebuiltBatches::fill(size_t index, int64_t first_line, int64_t now_ms) {
  Batch& batch = batches_[index];
  char* const bytes = batch.bytes.data();
  for (size_t i = 0; i < batch.probes.size(); ++i) {
    std::ranges::copy(probe_word(first_line + static_cast<int64_t>(i * probe_every_)), bytes + batch.probes[i]);
  }
  store_big(bytes + kBaseTimestamp, now_ms);
  store_big(bytes + kMaxTimestamp, now_ms);
  const std::string_view covered = std::string_view(batch.bytes).substr(RecordBatchView::kCrcBegins);
  store_big(bytes + kCrc, crc32c(covered));
  return batch.bytes;
}

std::string PrebuiltBatches::probe_word(int64_t line) {
  const std::string digits = std::to_string(line);
  std::string word(kProbe);
  CHECK(line >= 0 && digits.size() <= 10) << "line " << line;
  word.replace(word.size() - digits.size(), digits.size(), digits);
  return word;
}

}  // namespace millrace
