// What the computation costs in memory, without log, network or disk: split, count, finish, apply, publish, rank.
// Text: lines of 10 words, a vocabulary of 200,000 by Zipf's law (exponent 1), about 77 bytes a line.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <queue>
#include <random>
#include <string>
#include <vector>

#include "common/base/check.h"
#include "common/model/record_batch.h"
#include "jobs/registry.h"
#include "stream/huge_array.h"
#include "stream/key_arena.h"
#include "stream/text.h"

namespace millrace {
namespace {

constexpr int kVocabulary = 200'000;
constexpr int kLines = 1'000'000;
constexpr int kWordsPerLine = 10;
constexpr int kLinesPerRecordBatch = 500;

std::vector<std::string> make_lines() {
  std::mt19937_64 random(42);
  std::vector<std::string> words(kVocabulary);
  std::vector<double> cumulated(kVocabulary);
  double total = 0;
  for (int i = 0; i < kVocabulary; ++i) {
    const auto size = 2 + static_cast<size_t>(std::log2(i + 2) * 0.5) + random() % 3;
    for (size_t k = 0; k < size; ++k) words[i] += static_cast<char>('a' + random() % 26);
    cumulated[i] = total += 1.0 / (i + 1);
  }
  std::vector<int> rank_of(1 << 22);
  for (size_t i = 0; i < rank_of.size(); ++i) {
    const double share = (static_cast<double>(i) + 0.5) / static_cast<double>(rank_of.size()) * total;
    rank_of[i] = static_cast<int>(std::lower_bound(cumulated.begin(), cumulated.end(), share) - cumulated.begin());
  }
  std::vector<std::string> lines(kLines);
  for (std::string& line : lines) {
    for (int k = 0; k < kWordsPerLine; ++k) {
      if (k != 0) line += ' ';
      line += words[rank_of[random() % rank_of.size()]];
    }
  }
  return lines;
}

// All lines as record batches.
const std::string& record_batches() {
  static const std::string bytes = [] {
    const std::vector<std::string> lines = make_lines();
    std::string all;
    RecordBatchBuilder builder;
    for (int i = 0; i < kLines; ++i) {
      builder.add(Offset(i), 0, std::nullopt, lines[i]);
      if (builder.count() == kLinesPerRecordBatch) all += builder.finish(RecordBatchBuilder::Checksum::kNone);
    }
    if (!builder.empty()) all += builder.finish(RecordBatchBuilder::Checksum::kNone);
    return all;
  }();
  return bytes;
}

// The record batches that hold the first `lines` lines.
std::string_view first_record_batches(int64_t lines) {
  RecordBatchCursor cursor(record_batches());
  RecordBatchView batch;
  while (cursor.next(batch) && batch.next_offset().value() < lines) {
  }
  return std::string_view(record_batches()).substr(0, cursor.position());
}

std::shared_ptr<const Job> make_job(const std::string& type, const std::map<std::string, std::string>& settings = {}) {
  auto job = make_builtin_job(type, {.settings = settings});
  CHECK(job.has_value()) << job.error().message;
  return *job;
}

void map_lines(MapTask& task, int64_t lines) {
  MapReport report;
  const Status status = task.map(LogPartition(0), {Offset(0), Offset(lines)}, first_record_batches(lines), report);
  CHECK(status.has_value());
  CHECK_EQ(report.records, lines);
}

void per_word(benchmark::State& state, int64_t words) {
  state.counters["per_word"] = benchmark::Counter(static_cast<double>(words) * static_cast<double>(state.iterations()),
                                                  benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

// Cursor and split alone.
void split(benchmark::State& state) {
  const auto kind = static_cast<ClassifierKind>(state.range(0));
  if (find_classifier(kind) == nullptr) return state.SkipWithError("not on this processor");
  const TextSplitter splitter(kind);
  state.SetLabel(to_string(kind));
  record_batches();
  for ([[maybe_unused]] auto _ : state) {
    size_t bytes = 0;
    RecordBatchCursor batches(record_batches());
    for (RecordBatchView batch; batches.next(batch);) {
      RecordCursor records(batch);
      for (RecordView record; records.next(record);) {
        splitter.split(record.value, [&](std::string_view word) { bytes += word.size(); });
      }
    }
    benchmark::DoNotOptimize(bytes);
  }
  state.SetBytesProcessed(static_cast<int64_t>(record_batches().size() * state.iterations()));
  per_word(state, int64_t{kLines} * kWordsPerLine);
}
BENCHMARK(split)->DenseRange(0, 3)->Unit(benchmark::kMillisecond);

// Record batches to combined pairs, the table cleared as in use.
void split_and_count(benchmark::State& state, const std::string& type,
                     const std::map<std::string, std::string>& settings = {}) {
  const auto task = make_job(type, settings)->make_map_task();
  const int64_t lines = state.range(0);
  const std::string_view bytes = first_record_batches(lines);
  for ([[maybe_unused]] auto _ : state) {
    map_lines(*task, lines);
    state.PauseTiming();
    benchmark::DoNotOptimize(task->finish());
    state.ResumeTiming();
  }
  state.SetBytesProcessed(static_cast<int64_t>(bytes.size() * state.iterations()));
  state.SetItemsProcessed(lines * static_cast<int64_t>(state.iterations()));
  per_word(state, lines * kWordsPerLine);
}
BENCHMARK_CAPTURE(split_and_count, word_count, "word_count")
    ->Arg(10'000)
    ->Arg(100'000)
    ->Arg(kLines)
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(split_and_count, unicode_words, "word_count", {{"words", "unicode"}})
    ->Arg(kLines)
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(split_and_count, two_sum, "two_sum")->Arg(kLines)->Unit(benchmark::kMillisecond);

// The least that counting these words takes on this machine: keys of at most 15 bytes in slots of a table with room for
// twice as many, 32 of them looked for at a time. No partitions, no longer words, nothing that could be sent.
void least(benchmark::State& state) {
  struct alignas(32) Slot {
    ByteKey key;
    uint64_t count = 0;
  };
  constexpr uint64_t kMask = (1 << 19) - 1;
  constexpr size_t kAtOnce = 32;
  const int64_t lines = state.range(0);
  const TextSplitter splitter;
  HugeArray<Slot> slots(kMask + 1);
  std::array<HashedKey, kAtOnce> waiting;
  size_t count = 0;
  const auto add_all = [&] {
    for (size_t i = 0; i < count; ++i) {
      uint64_t at = waiting[i].hash & kMask;
      while (slots[at].count != 0 && !(slots[at].key == waiting[i].key)) at = (at + 1) & kMask;
      slots[at].key = waiting[i].key;
      ++slots[at].count;
    }
    count = 0;
  };
  const std::string_view bytes = first_record_batches(lines);
  for ([[maybe_unused]] auto _ : state) {
    RecordBatchCursor batches(bytes);
    for (RecordBatchView batch; batches.next(batch);) {
      RecordCursor records(batch);
      for (RecordView record; records.next(record);) {
        splitter.split(record.value, [&](std::string_view word) {
          if (word.size() > ByteKey::kInlineBytes) return;
          waiting[count] = HashedKey::of(word);
          __builtin_prefetch(&slots[waiting[count].hash & kMask], 1);
          if (++count == kAtOnce) add_all();
        });
      }
    }
    add_all();
    benchmark::DoNotOptimize(slots[0]);
  }
  per_word(state, lines * kWordsPerLine);
}
BENCHMARK(least)->Arg(100'000)->Arg(kLines)->Unit(benchmark::kMillisecond);

// Sections of the pairs of so many lines.
void finish(benchmark::State& state) {
  const auto task = make_job("word_count")->make_map_task();
  size_t bytes = 0;
  for ([[maybe_unused]] auto _ : state) {
    state.PauseTiming();
    map_lines(*task, state.range(0));
    state.ResumeTiming();
    const auto sections = task->finish();
    state.PauseTiming();
    bytes = 0;
    for (const auto& section : sections) bytes += section.bytes.size();
    state.ResumeTiming();
  }
  state.counters["section_bytes"] = static_cast<double>(bytes);
  state.counters["share_of_input"] =
      static_cast<double>(bytes) / static_cast<double>(first_record_batches(state.range(0)).size());
}
BENCHMARK(finish)->Arg(10'000)->Arg(100'000)->Arg(kLines)->Unit(benchmark::kMillisecond);

// 64 tables with the vocabulary in them, and the sections of a batch of so many lines.
struct StateOfAll {
  explicit StateOfAll(int64_t lines) : job(make_job("word_count")) {
    const auto task = job->make_map_task();
    for (int i = 0; i < 64; ++i) tables.push_back(job->make_state_table());
    map_lines(*task, kLines);
    all = task->finish();
    map_lines(*task, lines);
    sections = task->finish();
    apply(all);
    settle();
  }
  void apply(const std::vector<ShuffleBlock::Section>& from) {
    ++batch;
    for (const auto& section : from) {
      const std::string_view bytes = section.bytes.view();
      const Status status = table(section.partition).apply({BatchId(batch)}, std::span(&bytes, 1));
      CHECK(status.has_value());
    }
  }
  void settle() {
    for (int i = 0; i < 64; ++i) {
      StateRun run;
      tables[i]->freeze_all(StatePartition(i), run);
      tables[i]->settle_freeze(true);
      changed += run.size();
      benchmark::DoNotOptimize(tables[i]->take_unpublished(false));
      tables[i]->settle_publication(true);
      tables[i]->forget_undo(BatchId(batch));
    }
  }
  StateTable& table(StatePartition partition) { return *tables[static_cast<size_t>(partition.value())]; }
  void per_key(benchmark::State& state, size_t keys) const {
    state.counters["per_key"] = benchmark::Counter(static_cast<double>(keys) * static_cast<double>(state.iterations()),
                                                   benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
  }
  size_t changed_keys() {
    changed = 0;
    apply(sections);
    settle();
    return changed;
  }

  std::shared_ptr<const Job> job;
  std::vector<std::unique_ptr<StateTable>> tables;
  std::vector<ShuffleBlock::Section> all, sections;
  int64_t batch = 0;
  size_t changed = 0;
};

void apply(benchmark::State& state) {
  StateOfAll tables(state.range(0));
  const size_t keys = tables.changed_keys();
  for ([[maybe_unused]] auto _ : state) {
    tables.apply(tables.sections);
    state.PauseTiming();
    tables.settle();
    state.ResumeTiming();
  }
  tables.per_key(state, keys);
}
BENCHMARK(apply)->Arg(1'000)->Arg(100'000)->Unit(benchmark::kMillisecond);

enum class Step { kPublish, kFreeze, kTop, kMergedTop };

// The 1,000 highest of all tables, each asked only for what can be among them.
std::vector<SinkEntry> merged_top(const std::vector<std::unique_ptr<StateTable>>& tables) {
  constexpr size_t kRank = 1000;
  const auto before = [](const SinkEntry& a, const SinkEntry& b) {
    return a.score != b.score ? a.score > b.score : a.key < b.key;
  };
  std::vector<SinkEntry> best;
  std::priority_queue<double, std::vector<double>, std::greater<>> scores;  // the kRank highest, the lowest on top
  for (const auto& table : tables) {
    for (SinkEntry& entry : scores.size() < kRank ? table->top(kRank) : table->top_above(kRank, scores.top())) {
      scores.push(entry.score);
      if (scores.size() > kRank) scores.pop();
      best.push_back(std::move(entry));
    }
  }
  std::sort(best.begin(), best.end(), before);
  best.resize(std::min(best.size(), kRank));
  return best;
}

void after_a_batch(benchmark::State& state, Step step) {
  StateOfAll tables(state.range(0));
  const size_t keys = tables.changed_keys();
  for ([[maybe_unused]] auto _ : state) {
    state.PauseTiming();
    tables.apply(tables.sections);
    state.ResumeTiming();
    StateRun run;
    for (int i = 0; i < 64; ++i) {
      StateTable& table = *tables.tables[i];
      if (step == Step::kPublish) benchmark::DoNotOptimize(table.take_unpublished(false));
      if (step == Step::kFreeze) table.freeze_all(StatePartition(i), run);
      if (step == Step::kTop) benchmark::DoNotOptimize(table.top(1000));
    }
    if (step == Step::kMergedTop) benchmark::DoNotOptimize(merged_top(tables.tables));
    state.PauseTiming();
    for (const auto& table : tables.tables) {
      table->settle_publication(true);
      table->settle_freeze(true);
    }
    tables.settle();
    state.ResumeTiming();
  }
  tables.per_key(state, keys);
}
BENCHMARK_CAPTURE(after_a_batch, take_unpublished, Step::kPublish)->Arg(100'000)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(after_a_batch, freeze, Step::kFreeze)->Arg(100'000)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(after_a_batch, top_1000_of_64_tables, Step::kTop)
    ->Arg(10)
    ->Arg(1'000)
    ->Arg(100'000)
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(after_a_batch, merged_top_1000, Step::kMergedTop)
    ->Arg(10)
    ->Arg(1'000)
    ->Arg(100'000)
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace millrace

BENCHMARK_MAIN();
