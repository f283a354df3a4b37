// What a job appends: the edge that lists the records of an output in their order, made into bytes where they come into
// being, and the state behind it, which holds what the newest batch brings until it is taken. It has no keys, but keeps
// in checkpoints the number of the newest batch that brought something, so that a place that has forgotten it is
// noticed. Owned by one lane and used by its thread only.
//
// A piece of a section: number of records (varint), then each as its writer has written it, see LineWriter and
// ValueWriter.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "common/model/output_lines.h"
#include "common/seams/output.h"
#include "stream/codec.h"
#include "stream/graph.h"
#include "stream/output_text.h"
#include "stream/pair_list.h"
#include "stream/table_without_keys.h"

namespace millrace {

// Which batch a function of for_each_batch is given. It may come more than once, with the same values: (batch, part)
// says that it is the same.
struct BatchOfOutput {
  int64_t batch = 0;
  int32_t part = 0;
  int64_t time_ms = 0;
};

// Of an output, beside its name.
struct OutputOptions {
  // So many appenders side by side, each with an order of its own. What goes to which is decided by a pair's key, else
  // by the whole value.
  int32_t parts = 1;
};

namespace internal {

// Records as lines, with the key of a pair.
template <typename Format>
struct LineWriter {
  template <typename T>
  std::string_view write(const T& value, std::string& record) {
    line_.clear();
    append_line(line_, value, Format());
    record.clear();
    if constexpr (kIsPair<T>) {
      const std::string key = text_of(value.first);
      OutputLines::add(record, key, line_);
      routed_ = key;
      return routed_;
    } else {
      OutputLines::add(record, std::nullopt, line_);
      return line_;
    }
  }

 private:
  std::string line_;
  std::string routed_;
};

// Records as they are stored, for a function.
template <typename V>
struct ValueWriter {
  template <typename T>
  std::string_view write(const T& value, std::string& record) {
    if constexpr (!std::same_as<T, V>) {
      return write(V(value), record);
    } else {
      record.resize(Codec<V>::size(value));
      Codec<V>::encode(record.data(), value);
      if constexpr (kIsPair<V>) {
        routed_ = text_of(value.first);
        return routed_;
      }
      return record;
    }
  }

 private:
  std::string routed_;
};

template <typename In, typename Chain, typename Writer>
class AppendEdge final : public PairList, public Consumer<In> {
 public:
  AppendEdge(int32_t state_partitions, int32_t parts, Chain chain)
      : PairList(state_partitions), parts_(parts), chain_(std::move(chain)) {}

  void consume(std::span<const In> values, std::span<const uint32_t> records, Verdicts& verdicts) override {
    run_chain(chain_, values, records, verdicts, [this](uint32_t record, const auto& value) {
      const std::string_view routed = writer_.write(value, bytes_);
      const int32_t part = parts_ == 1 ? 0 : state_partition_of(routed, parts_).value();
      bytes_.copy(hold_in(record, static_cast<uint32_t>(part), bytes_.size()), bytes_.size());
    });
  }

 private:
  const int32_t parts_;
  Chain chain_;
  Writer writer_;
  std::string bytes_;  // of one record
};

// Its name in the graph is that of the output.
class AppendTable final : public TableWithoutKeys {
 public:
  Status apply(const BatchContext& context, std::span<const std::string_view> sections) override;
  [[nodiscard]] bool changed() const override { return records_ > 0; }
  // Of the newest batch.
  [[nodiscard]] AppendedRecords take(size_t output) {
    return {output, std::exchange(records_, 0), std::exchange(bytes_, {}), previous_};
  }

  void freeze(StatePartition self, StateRun& run) override;
  void settle_freeze(bool complete) override {
    if (complete) kept_ = frozen_;
  }
  Status restore(const StateRun::Entry&, bool) override;
  [[nodiscard]] int64_t memory_bytes() const override { return static_cast<int64_t>(bytes_.capacity()); }

 private:
  int64_t records_ = 0;
  std::string bytes_;
  BatchId newest_;    // that brought records
  BatchId previous_;  // ...before that one
  BatchId frozen_;    // newest_ at the last freeze
  BatchId kept_;      // ...in complete checkpoints
};

// Calls the job's code; what it throws is an error of the job.
Status call_batch_function(const std::function<void()>& function);

template <typename V, typename F>
class CallForBatch final : public BatchFunction {
 public:
  explicit CallForBatch(F function) : function_(std::move(function)) {}

  Status call(const OutputBatch& batch) override {
    std::vector<V> values(static_cast<size_t>(batch.records));
    const char* at = batch.bytes->data();
    const char* const end = at + batch.bytes->size();
    for (V& value : values) {
      if (!Codec<V>::decode(at, end, value)) return fail(ErrorCode::kCorrupt, "a record of the batch does not parse");
    }
    const BatchOfOutput of{batch.batch.value(), batch.part, batch.time_ms};
    return call_batch_function([&] { std::invoke(function_, of, std::span<const V>(values)); });
  }

 private:
  F function_;
};

}  // namespace internal
}  // namespace millrace
