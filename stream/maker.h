// Maker: a function that makes a part of a job, whatever its type. As std::function, but for copies, and with a third
// of what that costs the compiler for each of them: a job has one for each of its nodes and states.
#pragma once

#include <concepts>
#include <memory>
#include <utility>

namespace millrace::internal {

template <typename Signature>
class Maker;

// Called by several threads at once.
template <typename Made, typename... Arguments>
class Maker<Made(Arguments...)> {
 public:
  template <typename F>
    requires(!std::same_as<F, Maker>)
  Maker(F function)  // NOLINT(google-explicit-constructor): what adds a part is given a function
      : function_(new Of<F>(std::move(function))) {}

  Made operator()(Arguments... arguments) const { return function_->call(arguments...); }

 private:
  class Any {
   public:
    virtual ~Any() = default;
    virtual Made call(Arguments... arguments) const = 0;
  };
  template <typename F>
  class Of final : public Any {
   public:
    explicit Of(F function) : function_(std::move(function)) {}
    Made call(Arguments... arguments) const override { return function_(arguments...); }

   private:
    const F function_;
  };

  std::unique_ptr<const Any> function_;
};

}  // namespace millrace::internal
