// Lifetime: lets a role hand out callbacks that do nothing once the role is gone. A member of the role; its guards
// are called on the role's own loop only, so no lock is needed.
#pragma once

#include <memory>
#include <utility>

namespace millrace {

class Lifetime {
 public:
  Lifetime() : token_(std::make_shared<char>()) {}
  Lifetime(const Lifetime&) = delete;
  Lifetime& operator=(const Lifetime&) = delete;

  // Wraps a void callback so that it is skipped after this object's end.
  template <typename Function>
  auto guard(Function function) const {
    return [weak = std::weak_ptr<char>(token_), function = std::move(function)](auto&&... arguments) mutable {
      if (!weak.expired()) function(std::forward<decltype(arguments)>(arguments)...);
    };
  }

 private:
  std::shared_ptr<char> token_;
};

}  // namespace millrace
