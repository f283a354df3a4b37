// A job against plain code on the same input: batches of chance, with time that passes, early batches, checkpoints and
// crashes; after each batch what is published and read must be what the plain code says.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <iterator>
#include <map>
#include <random>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "millrace/job.h"
#include "millrace/testing.h"

namespace millrace {

// As MILLRACE_JOB, but within a namespace.
#define MILLRACE_TEST_JOB(name)                        \
  void define_##name(JobBuilder& job);                 \
  const JobDefinition name{#name, "", &define_##name}; \
  void define_##name(JobBuilder& job)

struct ModelBatch {
  std::vector<std::string> lines;  // by the log's partitions, then in their order
  int64_t time_ms = 0;
  bool tick = false;
  int32_t state_partitions = 0;
};
using ModelTable = std::map<std::string, std::string>;

struct ModelOptions {
  bool needs_time = false;
  int batches = 40;
  int most_words = 8;    // of a line
  int distinct = 20;     // words
  int most_lines = 60;   // of a batch
  int most_skipped = 5;  // batch intervals that pass without a batch
  std::map<std::string, std::string> settings = {};
};

inline std::string random_words(std::mt19937_64& random, const ModelOptions& options) {
  std::string line;
  for (uint64_t words = random() % static_cast<uint64_t>(options.most_words); words != 0; --words) {
    line += "w" + std::to_string(random() % static_cast<uint64_t>(options.distinct));
    if (random() % 20 == 0) line += "-with-an-ending-that-makes-it-long";
    line += " ";
  }
  return line;
}

inline std::vector<std::string> words_of(const std::string& line) {
  std::istringstream stream(line);
  return {std::istream_iterator<std::string>(stream), {}};
}

// What the newest window holds of all that came; `show` makes the table of its lines.
using ShowWindow = std::function<ModelTable(const std::vector<std::string>& lines)>;
inline auto in_windows(int64_t length_ms, int64_t slide_ms, const ShowWindow& show) {
  return [=] {
    struct Seen {
      std::vector<std::pair<int64_t, std::string>> lines;
      int64_t evaluated_ms = 0;
      ModelTable table;
    };
    return [=, seen = Seen()](const ModelBatch& batch) mutable {
      for (const std::string& line : batch.lines) seen.lines.emplace_back(batch.time_ms, line);
      const int64_t window_ms = batch.time_ms / slide_ms * slide_ms;
      if (batch.tick && window_ms > seen.evaluated_ms) {
        seen.evaluated_ms = window_ms;
        std::vector<std::string> lines;
        for (const auto& [time_ms, line] : seen.lines) {
          if (time_ms > window_ms - length_ms && time_ms <= window_ms) lines.push_back(line);
        }
        seen.table = show(lines);
      }
      return seen.table;
    };
  };
}

// `make_model()` makes what is called with each batch and gives the whole table after it.
inline void expect_model(const JobDefinition& definition, const ModelOptions& options,
                         const std::function<std::function<ModelTable(const ModelBatch&)>()>& make_model) {
  for (uint64_t seed = 1; seed <= 8; ++seed) {
    std::mt19937_64 random(seed);
    const int32_t state_partitions = seed % 2 == 0 ? 1 : 8;
    testing::TestJob job(
        definition,
        {.settings = options.settings, .state_partitions = state_partitions, .piece_records = 1 + random() % 100});
    const auto model = make_model();
    for (int number = 0; number < options.batches; ++number) {
      std::map<int32_t, std::vector<std::string>> pushed;
      if (random() % 4 != 0) {
        for (uint64_t lines = random() % static_cast<uint64_t>(options.most_lines); lines != 0; --lines) {
          const auto partition = static_cast<int32_t>(random() % 3);
          pushed[partition].push_back(random_words(random, options));
          job.push(pushed[partition].back(), partition);
        }
      }
      if (random() % 5 == 0) {
        job.advance(std::chrono::milliseconds(100 * (random() % static_cast<uint64_t>(options.most_skipped + 1))));
      }
      const bool early = options.needs_time && random() % 4 == 0;
      if (early) {
        job.run_early_batch();
      } else {
        job.run_batch();
      }
      ModelBatch batch{
          .time_ms = job.batch_time(), .tick = options.needs_time && !early, .state_partitions = state_partitions};
      for (const auto& [partition, lines] : pushed) {
        batch.lines.insert(batch.lines.end(), lines.begin(), lines.end());
      }
      const ModelTable expected = model(batch);
      ASSERT_EQ(job.table(), expected) << "seed " << seed << ", batch " << number;
      if (random() % 3 == 0) job.checkpoint();
      if (random() % 3 == 0) {
        job.crash();
        ASSERT_EQ(job.table(), expected) << "after a crash; seed " << seed << ", batch " << number;
      }
      for (int i = 0; i < options.distinct; ++i) {
        const std::string key = "w" + std::to_string(i);
        const auto found = expected.find(key);
        ASSERT_EQ(job.get(key), found == expected.end() ? std::nullopt : std::optional(found->second));
      }
    }
    EXPECT_TRUE(job.dead_letters().empty());
  }
}

}  // namespace millrace
