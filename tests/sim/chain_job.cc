#include "tests/sim/chain_job.h"

#include <optional>
#include <sstream>
#include <string>

#include "millrace/job.h"

namespace millrace {
namespace {

struct ChainValue {
  uint64_t factor;
  uint64_t summand;
  MILLRACE_FIELDS(ChainValue, factor, summand)

  [[nodiscard]] std::string text() const { return std::to_string(factor) + " " + std::to_string(summand); }
};

// `from` comes after `into`. A new slot is all zero, which is no value of its own: factors are odd.
struct MergeChain {
  void operator()(ChainValue& into, const ChainValue& from) const {
    if (into.factor == 0) {
      into = from;
      return;
    }
    into.factor *= from.factor;
    into.summand = into.summand * from.factor + from.summand;
  }
};

struct ChainWords {
  using Output = std::pair<std::string, ChainValue>;

  template <typename Emit>
  RecordProblem operator()(const Record& record, Emit& emit) const {
    const std::string text(record.value);
    if (text.find('\xff') != std::string::npos) return "not valid UTF-8";
    std::istringstream words(text);
    for (std::string word; words >> word;) {
      ChainValue value{1, 0};
      chain_step(value.factor, value.summand, record.topic == kSecondTopic, record.partition.value(),
                 record.offset.value());
      emit(Output(word, value));
    }
    return std::nullopt;
  }
};

}  // namespace

Result<std::shared_ptr<const Job>> make_chain_job(const JobContext& context) {
  static constexpr JobDefinition kChain{kChainJob, "words as functions, composed", [](JobBuilder& job) {
                                          const auto words = job.records().flat_map(ChainWords());
                                          words.reduce_by_key(MergeChain()).publish("counts");
                                          words.map([](const ChainWords::Output& word) { return word.first; })
                                              .count_by_value()
                                              .publish(kChainCounts)
                                              .rank("top", 1000);
                                        }};
  return make_job(kChain, context);
}

}  // namespace millrace
