#include "tests/sim/index_job.h"

#include <optional>
#include <string_view>
#include <type_traits>
#include <utility>

#include "millrace/job.h"

namespace millrace {
namespace {

template <bool kShrinks>
struct WordsOfDocuments {
  using Output = std::pair<std::string, std::conditional_t<kShrinks, Posting<std::string>, std::string>>;

  template <typename Emit>
  RecordProblem operator()(const Record& record, Emit& emit) const {
    const int64_t partition = record.partition.value();
    const std::string document = document_of(partition, record.offset.value());
    auto word = [&](std::string_view each) {
      if constexpr (kShrinks) {
        emit(Output(each, Posting<std::string>{document, posting_count(true, partition, record.offset.value())}));
      } else {
        emit(Output(each, document));
      }
    };
    return split_words(record.value, word);
  }
};

template <bool kShrinks>
void define_index(JobBuilder& job) {
  const int64_t version = job.number("version", 1, 1, 1'000'000, "of the job");
  const auto count_beside = [&] {
    job.lines().flat_map(split_words).count_by_value("beside " + std::to_string(version));
  };
  if (version % 2 == 0) count_beside();
  const auto index = job.records().flat_map(WordsOfDocuments<kShrinks>()).index_by_key("words").publish("words");
  if (kShrinks) {
    index.rank_all("top", 1000);
  } else {
    index.rank("top", 1000);
  }
  if (version % 2 == 1) count_beside();
}

constexpr JobDefinition kIndex{kIndexJob, "words with their documents", &define_index<false>};
constexpr JobDefinition kShrinkingIndex{kShrinkingIndexJob, "words with their documents, for a while",
                                        &define_index<true>};

}  // namespace

bool is_index_job(const std::string& type) {
  return type == kIndexJob || type == kShrinkingIndexJob;
}

std::string document_of(int64_t partition, int64_t offset) {
  const int64_t number = (partition + offset) % 3;
  return number == 0 ? "d" : "the-document-" + std::to_string(number);  // the bytes of a short key lie in its cell
}

int64_t posting_count(bool shrinks, int64_t partition, int64_t offset) {
  return shrinks && (partition + offset) / 3 % 2 == 1 ? -1 : 1;
}

Result<std::shared_ptr<const Job>> make_index_job(const std::string& type, const JobContext& context) {
  return make_job(type == kIndexJob ? kIndex : kShrinkingIndex, context);
}

}  // namespace millrace
