// HugeArray: a zeroed array of trivially copyable elements on huge pages (common/base/zeroed_memory.h).
#pragma once

#include <cstddef>
#include <cstring>
#include <memory>
#include <type_traits>

#include "common/base/zeroed_memory.h"

namespace millrace {

template <typename T>
class HugeArray {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  explicit HugeArray(size_t size) : elements_(static_cast<T*>(allocate_zeroed(size * sizeof(T)))), size_(size) {}

  [[nodiscard]] size_t size() const { return size_; }
  T& operator[](size_t index) const { return elements_.get()[index]; }
  void clear() { std::memset(static_cast<void*>(elements_.get()), 0, size_ * sizeof(T)); }

 private:
  struct Free {
    void operator()(T* memory) const { free_zeroed(memory); }
  };
  std::unique_ptr<T[], Free> elements_;
  size_t size_;
};

}  // namespace millrace
