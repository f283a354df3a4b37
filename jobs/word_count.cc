#include "jobs/word_count.h"

#include <cstdint>
#include <limits>
#include <utility>

#include "jobs/json_field.h"
#include "jobs/settings.h"
#include "stream/keyed_job.h"
#include "stream/text.h"
#include "stream/varint.h"

namespace millrace {
namespace {

class WordCountFunction {
 public:
  explicit WordCountFunction(const std::string& field) {
    if (!field.empty()) field_.emplace(field);
  }

  template <typename Emit>
  RecordProblem operator()(const InputRecord& record, Emit& emit) {
    std::string_view text = record.value;
    if (field_) {
      std::string problem;
      if (!field_->find(record.value, text, problem)) return problem;
    }
    const auto invalid = splitter_.split(text, [&emit](std::string_view word) { emit(word, 1); });
    if (invalid) [[unlikely]]
      return "not valid UTF-8 at byte " + std::to_string(*invalid);
    return std::nullopt;
  }

 private:
  TextSplitter splitter_;
  std::optional<JsonField> field_;  // none: the record is the text
};

// A count stays at the largest int64 once it is there, which keeps merging commutative and associative.
struct WordCount {
  using Value = int64_t;
  std::string field;

  static void merge(int64_t& into, const int64_t& from) {
    if (__builtin_add_overflow(into, from, &into)) [[unlikely]]
      into = std::numeric_limits<int64_t>::max();
  }
  static size_t encoded_size(const int64_t& count) { return varint_size(static_cast<uint64_t>(count)); }
  static char* encode(char* at, const int64_t& count) { return put_varint(at, static_cast<uint64_t>(count)); }
  static bool decode(const char*& at, const char* end, int64_t& count) {
    uint64_t value = 0;
    if (!get_varint(at, end, value) || value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return false;
    count = static_cast<int64_t>(value);
    return true;
  }
  static std::string text(const int64_t& count) { return std::to_string(count); }
  static double score(const int64_t& count) { return static_cast<double>(count); }
  [[nodiscard]] WordCountFunction make_function() const { return WordCountFunction(field); }
};

}  // namespace

std::vector<JobSetting> word_count_settings() {
  return {{"field", "", "the field of a JSON object whose text is counted; empty: the record is plain text"},
          {"rank", "top", "top: the sink's rank holds the 1,000 highest counts; all: every word"}};
}

Result<std::shared_ptr<const Job>> make_word_count(const JobContext& context) {
  const std::vector<JobSetting> settings = word_count_settings();
  WordCount definition;
  definition.field = setting(context, settings, "field");
  const std::string rank = setting(context, settings, "rank");
  if (rank != "top" && rank != "all") return malformed_setting("word_count", settings, "rank", rank, "top or all");
  SinkLayout layout;
  layout.values = "counts";
  layout.rank = "top";
  layout.rank_all = rank == "all";
  return std::make_shared<KeyedJob<WordCount>>(std::move(definition), layout, kWordCountRankSize, context);
}

}  // namespace millrace
