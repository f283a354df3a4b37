// A job for tests whose merge is associative but not commutative, so that the order of merging shows: each word is a
// function x -> factor * x + summand modulo 2^64, composed with one more for each place where it occurs. Its result
// depends on how the batches were cut (the records of one are merged log by log), which real jobs must not.
#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <sstream>
#include <string>

#include "stream/keyed_job.h"

namespace millrace {

inline constexpr char kChainJob[] = "chain";

// One more occurrence, at this place.
inline void chain_step(uint64_t& factor, uint64_t& summand, int32_t partition, int64_t offset) {
  const uint64_t step_factor = 2 * static_cast<uint64_t>(offset) + 3;
  const uint64_t step_summand = 7919 * static_cast<uint64_t>(partition) + static_cast<uint64_t>(offset) + 1;
  factor *= step_factor;
  summand = summand * step_factor + step_summand;
}

struct ChainDefinition {
  struct Value {
    uint64_t factor;
    uint64_t summand;
  };
  struct Function {
    template <typename Emit>
    RecordProblem operator()(const InputRecord& record, Emit& emit) {
      const std::string text(record.value);
      if (text.find('\xff') != std::string::npos) return "not valid UTF-8";
      std::istringstream words(text);
      for (std::string word; words >> word;) {
        Value value{1, 0};
        chain_step(value.factor, value.summand, record.partition.value(), record.offset.value());
        emit(std::string_view(word), value);
      }
      return std::nullopt;
    }
  };

  // `from` comes after `into`. A new slot is all zero, which is no value of its own: factors are odd.
  static void merge(Value& into, const Value& from) {
    if (into.factor == 0) {
      into = from;
      return;
    }
    into.factor *= from.factor;
    into.summand = into.summand * from.factor + from.summand;
  }
  static size_t encoded_size(const Value&) { return sizeof(Value); }
  static char* encode(char* at, const Value& value) {
    std::memcpy(at, &value, sizeof(value));
    return at + sizeof(value);
  }
  static bool decode(const char*& at, const char* end, Value& value) {
    if (end - at < static_cast<std::ptrdiff_t>(sizeof(value))) return false;
    std::memcpy(&value, at, sizeof(value));
    at += sizeof(value);
    return true;
  }
  static std::string text(const Value& value) {
    return std::to_string(value.factor) + " " + std::to_string(value.summand);
  }
  static double score(const Value&) { return 0; }
  [[nodiscard]] Function make_function() const { return {}; }
};

inline std::shared_ptr<const Job> make_chain_job(const JobContext& context) {
  return std::make_shared<KeyedJob<ChainDefinition>>(ChainDefinition(), SinkLayout(), 0, context);
}

}  // namespace millrace
