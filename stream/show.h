// Show: what readers see of a table's values where that is not the value itself (Table::map_values). Used by all
// threads at once.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "stream/value_text.h"

namespace millrace::internal {

class AnyShow {
 public:
  virtual ~AnyShow() = default;
};

template <typename V>
class Show : public AnyShow {
 public:
  [[nodiscard]] virtual std::string text(const V& value) const = 0;
  [[nodiscard]] virtual double score(const V& value) const = 0;
};

template <typename V, typename F>
class ShowMapped final : public Show<V> {
 public:
  explicit ShowMapped(F function) : function_(std::move(function)) {}
  [[nodiscard]] std::string text(const V& value) const override { return text_of(function_(value)); }
  [[nodiscard]] double score(const V& value) const override { return score_of(function_(value)); }

 private:
  const F function_;
};

// A table that can show its values by a Show of their type.
class ShowsMapped {
 public:
  virtual ~ShowsMapped() = default;
  virtual void show_by(std::shared_ptr<const AnyShow> show) = 0;
};

// What of a cell is shown.
template <typename V>
struct ShownPart {
  using type = V;
  static const V& of(const V& value) { return value; }
  static const V& of(const V&& gone) = delete;
};

}  // namespace millrace::internal
