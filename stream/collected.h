// Collected: the values of one or more chains, made once and given to all that consume them: what cache() and
// union_with() are. Values stand in the order of their records, and those of one record in the order of the branches:
// what follows does not depend on where chunks end.
#pragma once

#include <span>
#include <utility>
#include <vector>

#include "stream/chain.h"
#include "stream/graph.h"

namespace millrace::internal {

template <typename T>
class Collected final : public Origin<T> {
 public:
  struct Branch {
    std::vector<T> values;
    std::vector<uint32_t> records;  // ascending
  };

  explicit Collected(size_t branches) : branches_(branches) {}

  Branch& branch(size_t index) { return branches_[index]; }

  void end_chunk(Verdicts& verdicts) override {
    if (branches_.size() > 1) merge();
    Branch& all = branches_.front();
    this->give(all.values, all.records, verdicts);
    clear();
  }

  void clear() override {
    for (Branch& branch : branches_) {
      branch.values.clear();
      branch.records.clear();
    }
  }

 private:
  void merge() {
    Branch merged;
    std::vector<size_t> next(branches_.size());
    for (;;) {
      size_t first = branches_.size();
      for (size_t i = 0; i < branches_.size(); ++i) {
        if (next[i] == branches_[i].records.size()) continue;
        if (first == branches_.size() || branches_[i].records[next[i]] < branches_[first].records[next[first]])
          first = i;
      }
      if (first == branches_.size()) break;
      merged.values.push_back(std::move(branches_[first].values[next[first]]));
      merged.records.push_back(branches_[first].records[next[first]++]);
    }
    branches_.front() = std::move(merged);
  }

  std::vector<Branch> branches_;
};

// The end of a chain whose values are collected.
template <typename In, typename Chain, typename T>
class Collector final : public MapNode, public Consumer<In> {
 public:
  Collector(Chain chain, typename Collected<T>::Branch& into) : chain_(std::move(chain)), into_(into) {}

  void consume(std::span<const In> values, std::span<const uint32_t> records, Verdicts& verdicts) override {
    run_chain(chain_, values, records, verdicts, [this](uint32_t record, auto&& value) {
      into_.values.emplace_back(std::forward<decltype(value)>(value));
      into_.records.push_back(record);
    });
  }

 private:
  Chain chain_;
  typename Collected<T>::Branch& into_;
};

}  // namespace millrace::internal
