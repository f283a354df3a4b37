// What is thrown while a job is being defined, for whoever wrote it or its settings: cause, place and remedy in a line.
#pragma once

#include <stdexcept>

namespace millrace {

class JobError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace millrace
