// What can be said of the state behind an operator of a stream.
#pragma once

#include <chrono>
#include <string>

namespace millrace {

// In place of a state's name, where there is more to say.
struct StateOptions {
  std::string name;  // none: that of the operator
  // A key without input for so long goes, by batch time: at the end of the first tick that is so much later. Zero:
  // never.
  std::chrono::milliseconds time_to_live{};
};
// Of a join that is no join of windows.
struct JoinOptions {
  std::string name;  // of the state; none: that of the operator
  // How long a value waits for its partners, by batch time.
  std::chrono::milliseconds time_to_live{};
};
// Of update_state_by_key().
struct UpdateOptions {
  std::string name;           // of the state; none: that of the operator
  bool only_changed = false;  // keys without new values are left alone
};

}  // namespace millrace
