// Bulk bytes that are shared and never copied: a fetched log buffer, a shuffle block, a checkpoint file.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace millrace {

// A view of immutable bytes together with what keeps them alive. Copying shares; the last copy to go
// releases the owner, which for a log adapter gives the read-ahead credit back. Safe to hand to another thread.
class SharedBuffer {
 public:
  SharedBuffer() = default;
  SharedBuffer(std::shared_ptr<const void> owner, std::string_view bytes) : owner_(std::move(owner)), bytes_(bytes) {}

  static SharedBuffer of(std::string bytes) {
    auto owner = std::make_shared<const std::string>(std::move(bytes));
    const std::string_view view = *owner;
    return {std::move(owner), view};
  }

  [[nodiscard]] std::string_view view() const { return bytes_; }
  [[nodiscard]] size_t size() const { return bytes_.size(); }
  [[nodiscard]] bool empty() const { return bytes_.empty(); }

  // The same owner, fewer bytes.
  [[nodiscard]] SharedBuffer slice(size_t offset, size_t size) const { return {owner_, bytes_.substr(offset, size)}; }

 private:
  std::shared_ptr<const void> owner_;
  std::string_view bytes_;
};

}  // namespace millrace
