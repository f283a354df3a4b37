// How a table keeps a value in its cell, and one that was replaced.
#pragma once

#include <utility>

namespace millrace::internal {

// In the cell itself; for what is trivially copyable.
template <typename V>
struct InCell {
  using Old = V;
  V value;

  [[nodiscard]] V& get() { return value; }
  [[nodiscard]] const V& get() const { return value; }
  void begin() {}
  [[nodiscard]] Old copy() const { return value; }
  [[nodiscard]] Old take() const { return value; }
  void drop() {}
  static const V& old(const Old& old) { return old; }
  static const V& old(const Old&& gone) = delete;
};
template <typename V>
struct OnHeap {
  // As std::unique_ptr, which takes the compiler many times as long for each type.
  class Old {
   public:
    explicit Old(V* value) : value_(value) {}
    Old(Old&& other) noexcept : value_(std::exchange(other.value_, nullptr)) {}
    Old& operator=(Old&&) = delete;
    ~Old() { delete value_; }
    const V& operator*() const { return *value_; }

   private:
    V* value_;
  };
  V* value;  // owned; none in a dead cell

  [[nodiscard]] V& get() { return *value; }
  [[nodiscard]] const V& get() const { return *value; }
  void begin() { value = new V(); }
  [[nodiscard]] Old copy() const { return Old(value == nullptr ? nullptr : new V(*value)); }
  [[nodiscard]] Old take() { return Old(std::exchange(value, nullptr)); }
  void drop() { delete std::exchange(value, nullptr); }
  static const V& old(const Old& old) { return *old; }
};

}  // namespace millrace::internal
